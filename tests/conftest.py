"""Fixtures that all tests share."""

from tests.postgres import database, database_server, ledger, ledger_url, worker_url

__all__ = ["database", "database_server", "ledger", "ledger_url", "worker_url"]
