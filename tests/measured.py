"""Times that a test promises and measures: told at the end of a run, also of one in several processes.

A test writes one by `record_property(SECONDS, …)`; tests/conftest.py calls `tell`.
"""

from __future__ import annotations

from typing import Final

import pytest

SECONDS: Final = "seconds"


def tell(terminalreporter: pytest.TerminalReporter) -> None:
    for kind in ("passed", "failed"):
        for report in terminalreporter.getreports(kind):
            for name, value in report.user_properties:
                if name == SECONDS and report.when == "call":
                    terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value:.1f} s")
