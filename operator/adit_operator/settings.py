"""What the operator is told by its environment. Read once by `main`; documented in docs/operations.md."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_ALL: Final = "*"


class OperatorSettings(BaseSettings):
    """ADIT_*, or files of those names in the folder ADIT_CREDENTIALS, and POD_NAME and POD_NAMESPACE."""

    model_config = SettingsConfigDict(env_prefix="ADIT_", frozen=True, extra="ignore")

    database_url: str
    workers: Path  # the file of WorkerSettings
    namespaces: str = ""  # comma separated, or *; our own if empty
    lease: str = "adit-operator"
    listen: str = "0.0.0.0:8080"
    log_level: str = "info"
    pod_name: str = Field(validation_alias="POD_NAME")
    pod_namespace: str = Field(validation_alias="POD_NAMESPACE")
    sweep_seconds: float = 300.0
    lease_seconds: int = 30  # without a sign of life of a worker before its attempt is lost

    @property
    def watched(self) -> tuple[str, ...] | None:
        """The namespaces to look after; None for all."""
        names = tuple(dict.fromkeys(name for name in (part.strip() for part in self.namespaces.split(",")) if name))
        if _ALL in names:
            return None
        return names or (self.pod_namespace,)
