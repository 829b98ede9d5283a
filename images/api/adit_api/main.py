"""The facade as a process: settings, ledger, registry, a listening socket, and a graceful end.

In a cluster it is a pod's only process. On one machine `adit up --listen` starts it as a child, hands over the
listening socket and a pipe, and the end of the pipe is the end of the facade.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from contextlib import ExitStack

import structlog
import uvicorn
from pydantic import ValidationError

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit.ledger.schema_version import NEWEST
from adit_api import log
from adit_api.app import create
from adit_api.ledger_registry import LedgerRegistry
from adit_api.registry import Registry, RegistryUnavailable
from adit_api.services import Services, utc_now
from adit_api.settings import RegistryKind, Settings

_CONNECTIONS = 10
_log = structlog.get_logger(__name__)


def main() -> int:
    """The exit code: 0 after a graceful end, 2 if it could not start."""
    try:
        settings = Settings(_secrets_dir=os.environ.get("ADIT_CREDENTIALS"))
        settings.address  # noqa: B018 - raises
    except ValidationError as error:
        log.configure("info")
        wrong = sorted(
            {f"ADIT_{str(each['loc'][0]).upper()}" if each["loc"] else each["msg"] for each in error.errors()}
        )
        _log.error("wrong settings", variables=wrong)
        return 2
    except ValueError:
        log.configure("info")
        _log.error("wrong settings", variables=["ADIT_LISTEN"])
        return 2
    log.configure(settings.log_level)
    with ExitStack() as stack:
        source = engine(_driver(settings.database_url), connections=_CONNECTIONS)
        stack.callback(source.dispose)
        ledger = Ledger(source)
        try:
            registry = _registry(settings, ledger, stack)
            listening = _socket(settings)
        except RegistryUnavailable:
            _log.error("no way to a Kubernetes API server")
            return 2
        except OSError as error:
            _log.error("cannot listen", address=settings.listen, reason=error.strerror)
            return 2
        services = Services(settings, ledger, registry, NEWEST)
        return _serve(services, listening)


def _serve(services: Services, listening: socket.socket) -> int:
    config = uvicorn.Config(
        create(services),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        timeout_graceful_shutdown=services.settings.stop_seconds,
        h11_max_incomplete_event_size=32 * 1024,
        http="h11",
        ws="none",
    )
    server = uvicorn.Server(config)
    if services.settings.ends_with_parent:
        threading.Thread(target=_end_with_parent, args=(server,), name="parent", daemon=True).start()
    host, port = listening.getsockname()[:2]
    _log.info("listening", host=host, port=port, registry=str(services.settings.where))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # uvicorn takes them, and raises them once more when it has ended
    server.run(sockets=[listening])
    _log.info("ended")
    return 0


def _registry(settings: Settings, ledger: Ledger, stack: ExitStack) -> Registry:
    if settings.where is RegistryKind.LEDGER:
        return LedgerRegistry(ledger, utc_now)
    from adit_api.cluster_registry import ClusterRegistry, login

    cluster = ClusterRegistry(login())
    stack.callback(cluster.close)
    return cluster


def _socket(settings: Settings) -> socket.socket:
    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    host, port = settings.address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=512)


def _driver(url: str) -> str:
    _, _, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}"


def _end_with_parent(server: uvicorn.Server) -> None:
    """Our parent holds the other end of standard input and writes nothing: it ends when the parent does."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    server.should_exit = True
