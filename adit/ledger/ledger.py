"""The ledger's face: one method for everything that the dispatcher and the command line may ask or write."""

from __future__ import annotations

from sqlalchemy import Engine


class Ledger:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
