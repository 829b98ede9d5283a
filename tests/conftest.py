"""Fixtures and settings that all tests share."""

import gc
import signal
from collections.abc import Iterator
from socketserver import BaseServer

import pytest
from hypothesis import settings

from tests import measured
from tests.postgres import database, database_server, ledger, ledger_url, receiver_url, worker_url
from tests.sample import sample, tell_of_samples

__all__ = [
    "database",
    "database_server",
    "ledger",
    "ledger_url",
    "receiver_url",
    "sample",
    "worker_url",
]

# A busy machine is no failure: what is found is asserted, how long it took belongs into benchmarks/.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Under nohup it is ignored, and so by all that is started here, as it should be by what a user starts so.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

# The servers of scripted peers, pynetdicom's too, look only twice a second whether they were told to stop.
BaseServer.serve_forever.__defaults__ = (0.05,)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tell_of_samples(terminalreporter)
    measured.tell(terminalreporter)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """The thousands of tests and all that they import stay: no garbage collection needs to look at them."""
    gc.disable()
    result = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return result
