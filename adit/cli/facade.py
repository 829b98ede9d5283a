"""The REST API beside `adit up`: `python -m adit_api` as a child process, on the same ledger. Used by `up`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from adit.cli.child_process import ChildProcess, listening_socket, shown
from adit.cli.console import fail
from adit.cli.session import Session

_GRACE_SECONDS: Final = 25.0


@contextmanager
def facade(session: Session, listen: str | None, said: Callable[[str], None]) -> Iterator[None]:
    """Runs the facade while the block runs, if `listen` (HOST:PORT) asks for it; starts it again if it dies.

    Ends the command when the address cannot be had.
    """
    if listen is None:
        yield
        return
    if find_spec("adit_api") is None or find_spec("fastapi") is None:
        fail("The REST API is not installed. Install it: pip install 'adit[api]'.")
    with listening_socket(listen, "--listen") as listening:
        environment = dict(os.environ) | {
            "ADIT_DATABASE_URL": session.url,
            "ADIT_REGISTRY": "ledger",
            "ADIT_NAMESPACES": "*",
            "ADIT_LISTEN_FD": str(listening.fileno()),
            "ADIT_ENDS_WITH_PARENT": "true",
            "ADIT_SECRETS": str(session.settings.secrets_folder),
        }
        child = ChildProcess("The REST API", "adit_api", environment, listening, said, grace=_GRACE_SECONDS)
        said(f"REST API on http://{shown(listening)}/v1 (`adit token create` lets you in).")
        try:
            yield
        finally:
            child.end()
