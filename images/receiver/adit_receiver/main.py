"""The receiver's process, from its environment to its exit code.

Exit code 0 after SIGTERM or SIGINT, once its associations have ended or were ended; 2 if the environment is wrong.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from adit_receiver import log
from adit_receiver.health import HealthServer
from adit_receiver.inbox import Inbox
from adit_receiver.listener import Listener
from adit_receiver.outlet import Outlets
from adit_receiver.refusing import Refusing
from adit_receiver.room import Room
from adit_receiver.settings import ReceiverSettings

if TYPE_CHECKING:
    from adit.ledger.mailbox_directory import MailboxDirectory

_log = structlog.get_logger(__name__)
_BACKLOG: Final = 512
_PREFIX: Final = "ADIT_RECEIVER_"


def main() -> int:
    """The exit code."""
    log.configure("info")
    try:
        settings = ReceiverSettings(_secrets_dir=os.environ.get("ADIT_CREDENTIALS"))
    except ValidationError as error:
        wrong = "; ".join(_what_is_wrong(each) for each in error.errors(include_input=False))
        _log.error("wrong environment", variables=wrong)
        return 2
    log.configure(settings.log_level)
    directory = _directory(settings)
    try:
        listener = _listener(settings, directory)
    except (OSError, ValueError) as error:
        _log.error("cannot start", reason=getattr(error, "strerror", None) or type(error).__name__)
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: listener.drain())
    if settings.ends_with_parent:
        threading.Thread(target=_await_end_of_input, args=(listener.drain,), name="parent", daemon=True).start()
    with ExitStack() as stack:
        if settings.health_listen:
            stack.enter_context(HealthServer(settings.health_listen, _readiness(listener, directory)))
        _log.info("listening", associations=settings.associations, tls=settings.tls is not None)
        listener.run()
    _log.info("ended")
    return 0


def _what_is_wrong(error: ErrorDetails) -> str:
    return f"{_PREFIX}{error['loc'][0]}".upper() + f": {error['msg'].removeprefix('Value error, ')}"


def _directory(settings: ReceiverSettings) -> MailboxDirectory | None:
    if settings.database_url is None:
        return None
    from adit.ledger.mailbox_directory import MailboxDirectory

    return MailboxDirectory(settings.database_url.get_secret_value())


def _listener(settings: ReceiverSettings, directory: MailboxDirectory | None) -> Listener:
    tls = None
    if settings.tls is not None:
        from adit_receiver.tls import Certificates

        tls = Certificates(settings.tls).context
    return Listener(_socket(settings), settings, _outlets(settings, directory), Room(settings), tls)


def _outlets(settings: ReceiverSettings, directory: MailboxDirectory | None) -> Callable[[], Outlets]:
    inbox = None if settings.inbox is None else Inbox(settings.inbox, synced=settings.inbox_sync)
    unclaimed: Outlets = inbox or Refusing()
    if directory is None:
        return lambda: unclaimed
    from adit_receiver.forwarding import Forwarding

    return lambda: Forwarding(directory, unclaimed)


def _socket(settings: ReceiverSettings) -> socket.socket:
    if settings.listen_fd is not None:
        return socket.socket(fileno=settings.listen_fd)
    host, _, port = settings.listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=_BACKLOG)


def _readiness(listener: Listener, directory: MailboxDirectory | None) -> Callable[[], str | None]:
    """Says in a word why no association would be of use now; None while one would."""
    if directory is None:
        return lambda: "draining" if listener.draining else listener.lacking
    from adit_receiver.reach import Reach

    reach = Reach(directory)
    return lambda: "draining" if listener.draining else listener.lacking or reach.lacking


def _await_end_of_input(end: Callable[[], None]) -> None:
    """Not by `sys.stdin`: Python cannot shut down while a thread waits in its buffer, and dies with a fatal error."""
    while os.read(sys.stdin.fileno(), 1024):
        pass
    end()
