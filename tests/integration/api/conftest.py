"""A facade on a fresh ledger, with tokens of each kind."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from adit.ledger.ledger import Ledger
from adit_api import log
from adit_api.settings import Settings
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import NOW, Scene, node


@pytest.fixture
def settings(ledger_url: str) -> Settings:
    return Settings(database_url=ledger_url, namespaces="*", rate_limit="100000/minute", node_rate_limit="1000/minute")


@contextmanager
def logging_to(path: Path) -> Iterator[Path]:
    """The facade logs there meanwhile."""
    handlers = logging.root.handlers[:]
    with path.open("w", encoding="utf-8", buffering=1) as file:
        log.configure("info", file)
        yield path
        structlog.reset_defaults()
        logging.root.handlers[:] = handlers


@pytest.fixture
def log_file(tmp_path: Path) -> Iterator[Path]:
    with logging_to(tmp_path / "facade.log") as path:
        yield path


@pytest.fixture
def facade(ledger: Ledger, settings: Settings, log_file: Path) -> Iterator[Facade]:
    with running(ledger, settings) as facade:
        yield facade


@pytest.fixture
def admin(facade: Facade) -> str:
    return facade.token("admin", name="admin")


@pytest.fixture
def nodes(ledger: Ledger) -> None:
    for name in ("pacs", "research"):
        ledger.apply_node(node(name), NOW)


@pytest.fixture
def scene(ledger: Ledger, worker_url: str) -> Scene:
    return Scene(ledger, worker_url)
