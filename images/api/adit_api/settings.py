"""What the facade is told by its environment. Read once by `main`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self

from limits import RateLimitItem, parse
from pydantic import AfterValidator, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class RegistryKind(StrEnum):
    CLUSTER = "cluster"
    LEDGER = "ledger"


def _rate(text: str) -> str:
    parse(text)
    return text


class Settings(BaseSettings):
    """ADIT_* in the environment, or files of those names in the folder ADIT_CREDENTIALS (docs/api.md)."""

    model_config = SettingsConfigDict(env_prefix="ADIT_", frozen=True, extra="ignore")

    database_url: str
    namespaces: str = "*"  # those that it serves, with commas between them
    listen: str = "0.0.0.0:8080"
    listen_fd: int | None = None  # a listening socket that our parent opened
    ends_with_parent: bool = False  # standard input is a pipe whose end means that our parent is gone
    registry: RegistryKind | None = None
    kubernetes_service_host: str | None = Field(default=None, validation_alias="KUBERNETES_SERVICE_HOST")
    secrets: Path | None = None
    log_level: str = "info"
    rate_limit: Annotated[str, AfterValidator(_rate)] = "600/minute"  # of each token
    node_rate_limit: Annotated[str, AfterValidator(_rate)] = "60/minute"  # of each token's probes and finds
    wrong_token_rate_limit: Annotated[str, AfterValidator(_rate)] = "30/minute"  # noqa: S105 - of each address
    stop_seconds: int = 20

    @model_validator(mode="after")
    def _known_log_level(self) -> Self:
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise ValueError("log_level must be debug, info, warning or error")
        return self

    @property
    def where(self) -> RegistryKind:
        """In a pod resources are the API server's; elsewhere the ledger stands in for it."""
        return self.registry or (RegistryKind.CLUSTER if self.kubernetes_service_host else RegistryKind.LEDGER)

    @property
    def served(self) -> frozenset[str] | None:
        """None: all namespaces."""
        names = frozenset(filter(None, (name.strip() for name in self.namespaces.split(","))))
        return None if "*" in names else names

    @property
    def address(self) -> tuple[str, int]:
        """Raises ValueError if it is none."""
        return address_of(self.listen)

    def rate(self) -> RateLimitItem:
        return parse(self.rate_limit)

    def wrong_token_rate(self) -> RateLimitItem:
        return parse(self.wrong_token_rate_limit)

    def node_rate(self) -> RateLimitItem:
        return parse(self.node_rate_limit)


def address_of(text: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:8080")
    return host.removeprefix("[").removesuffix("]"), int(port)
