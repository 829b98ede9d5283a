"""What the command is told by its environment: where the ledger is, where files may lie.

Read once by `adit.cli.main`; `--data` wins over ADIT_DATA. Documented in docs/single-machine.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import typer
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from adit.cli.console import fail

_SCHEMES: Final = ("postgres", "postgresql", "postgresql+psycopg")


def _default_data() -> Path:
    """A folder for user data (XDG Base Directory Specification)."""
    try:
        home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    except RuntimeError:
        fail("This user has no home folder. Say where ADIT may keep its data: set ADIT_DATA, or give --data.")
    return Path(home) / "adit"


class Settings(BaseSettings):
    """ADIT_* in the environment, or files of those names in the folder ADIT_CREDENTIALS.

    Without a database URL a Postgres of our own runs in the data folder.
    """

    model_config = SettingsConfigDict(env_prefix="ADIT_", frozen=True, extra="ignore")

    database_url: str | None = None
    worker_database_url: str | None = None  # of a role in adit_worker; the same as database_url if absent
    receiver_database_url: str | None = None  # of a role in adit_receiver; the same as database_url if absent
    data: Path = Field(default_factory=_default_data)
    secrets: Path | None = None
    spool: Path | None = None

    @property
    def workers_are_owners(self) -> bool:
        """Whether workers get a server's URL that was meant for the dispatcher."""
        return self.database_url is not None and not self.worker_database_url

    @property
    def postgres(self) -> Path:
        return self.data / "postgres"

    @property
    def spool_folder(self) -> Path:
        """Where objects too big for memory lie while they are moved."""
        return self.spool or self.data / "spool"

    @property
    def secrets_folder(self) -> Path:
        """One folder per Secret in it (`dimse.tls.secretName`); it may be made later."""
        return self.secrets or self.data / "secrets"

    @property
    def logs(self) -> Path:
        return self.data / "logs"

    @property
    def manifests(self) -> Path:
        """Where `adit run` keeps the proof of each job."""
        return self.data / "manifests"


def normal_url(url: str) -> str:
    """The URL with the driver that we use. Ends the command if it isn't one of Postgres; never repeats it."""
    scheme, separator, rest = url.partition("://")
    try:
        port = urlsplit(f"postgresql://{rest}").port
    except ValueError:
        port = 0
    if not separator or scheme not in _SCHEMES or port == 0:
        fail("ADIT_DATABASE_URL must be such as postgresql://USER:PASSWORD@HOST:PORT/DATABASE")
    return f"postgresql+psycopg://{rest}"


def settings_of(context: typer.Context) -> Settings:
    """The settings of this call: the environment, and `--data`."""
    data: Path | None = context.find_root().obj
    secret = os.environ.get("ADIT_CREDENTIALS")
    return Settings(_secrets_dir=secret) if data is None else Settings(_secrets_dir=secret, data=data)
