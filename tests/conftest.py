"""Fixtures and settings that all tests share."""

import signal

from hypothesis import settings

from tests.postgres import database, database_server, ledger, ledger_url, receiver_url, worker_url

__all__ = ["database", "database_server", "ledger", "ledger_url", "receiver_url", "worker_url"]

# A busy machine is no failure: what is found is asserted, how long it took belongs into benchmarks/.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")

# Under nohup it is ignored, and so by all that is started here, as it should be by what a user starts so.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
