"""The facade as tests call it: the whole application behind a real server and socket, in a thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import uvicorn

from adit.ledger.ledger import Ledger
from adit.ledger.schema_version import NEWEST
from adit_api.app import create
from adit_api.ledger_registry import LedgerRegistry
from adit_api.registry import Registry
from adit_api.services import Services, utc_now
from adit_api.settings import Settings
from tests.peers.server_process import wait_until


@dataclass
class Facade:
    """One running facade, and words for what most tests do."""

    services: Services
    url: str
    client: httpx.Client

    @property
    def ledger(self) -> Ledger:
        return self.services.ledger

    def token(self, *scopes: str, namespaces: Sequence[str] | None = None, name: str = "") -> str:
        made = self.ledger.create_token(
            name or f"t{len(self.ledger.tokens())}", scopes, namespaces, utc_now() + timedelta(hours=1), utc_now()
        )
        assert made is not None
        return made

    def call(self, method: str, path: str, token: str | None = None, **given: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.client.request(method, path, headers=headers | given.pop("headers", {}), **given)


@contextmanager
def running(ledger: Ledger, settings: Settings, registry: Registry | None = None) -> Iterator[Facade]:
    services = Services(settings, ledger, registry or LedgerRegistry(ledger, utc_now), NEWEST)
    with serving(create(services)) as url, httpx.Client(base_url=url, timeout=60) as client:
        yield Facade(services, url, client)


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The application behind uvicorn, as `adit_api.main` configures it; its URL."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, server_header=False, lifespan="off", http="h11", ws="none",
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_until(lambda: server.started, "the facade is up", 60)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(90)
        assert not thread.is_alive()
