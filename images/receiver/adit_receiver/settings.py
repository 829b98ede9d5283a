"""What the receiver is told by its environment. Read once by `main`; documented in docs/receiver.md."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_LONGEST_PDU: Final = 2**20
_LAST_PORT: Final = 65535
_ADDRESS: Final = re.compile(r"([^:\[\]]*|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
Network = IPv4Network | IPv6Network


def _address(value: str) -> str:
    if _ADDRESS.fullmatch(value) is None or int(value.rpartition(":")[2]) > _LAST_PORT:
        raise ValueError("must be HOST:PORT, such as 0.0.0.0:11112 or [::]:11112")
    return value


Address = Annotated[str, AfterValidator(_address)]


class ReceiverSettings(BaseSettings):
    """ADIT_RECEIVER_*, or files of those names in the folder ADIT_CREDENTIALS. Lists are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix="ADIT_RECEIVER_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    listen: Address = "0.0.0.0:11112"
    listen_fd: int | None = None  # a listening socket that whoever started us holds; wins over `listen`
    health_listen: Address | None = None  # where /healthz, /readyz and /metrics are answered; nowhere if absent
    ends_with_parent: bool = False  # standard input is a pipe whose end is ours
    log_level: str = "info"

    ae_titles: str = "ADIT"  # what we are called; all if empty
    callers: str = ""  # AE titles from which we take associations; all if empty
    networks: str = ""  # from which we take connections, such as 10.1.0.0/16; all if empty
    tls: Path | None = None  # a folder with tls.crt and tls.key; with ca.crt in it, callers must show a certificate

    associations: int = Field(default=40, ge=1, le=1000)
    waiting: int = Field(default=64, ge=1, le=1000)  # connections that have not asked for an association yet
    pdu_bytes: int = Field(default=128 * 1024, ge=4096, le=_LONGEST_PDU)
    object_bytes: int = Field(default=16 * 2**30, ge=1)
    memory_bytes: int = Field(default=512 * 2**20, ge=1)  # in use: from there on no association is accepted
    memory_limit: int | None = Field(default=None, ge=1)  # of our container: from four fifths of it on, too
    free_bytes: int = Field(default=2 * 2**30, ge=0)  # left on the inbox's disk: the same

    request_seconds: float = Field(default=15.0, gt=0)  # from the connection to the whole association request
    message_seconds: float = Field(default=60.0, gt=0)  # for a command set, and for each 64 KiB of a data set
    idle_seconds: float = Field(default=600.0, gt=0)  # between an association's messages
    drain_seconds: float = Field(default=30.0, ge=0)  # that open associations may go on after SIGTERM

    # The ledger, as a role in adit_receiver; without it nobody waits for anything.
    database_url: SecretStr | None = None
    inbox: Path | None = None  # a folder for what no transfer waits for; refused if absent
    inbox_sync: bool = True  # an object there is on the disk before its sender hears of success

    @field_validator("networks")
    @classmethod
    def _networks_are_networks(cls, value: str) -> str:
        for each in _listed(value):
            ip_network(each)
        return value

    @property
    def own_titles(self) -> frozenset[str]:
        return frozenset(_listed(self.ae_titles))

    @property
    def calling_titles(self) -> frozenset[str]:
        return frozenset(_listed(self.callers))

    @property
    def calling_networks(self) -> tuple[Network, ...]:
        return tuple(ip_network(each) for each in _listed(self.networks))


def _listed(value: str) -> list[str]:
    return [each for each in (part.strip() for part in value.split(",")) if each]
