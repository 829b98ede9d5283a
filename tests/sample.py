"""A sample of a sweep of hundreds of cases, another one each time: the fixture `sample`, exposed by tests/conftest.py.

ADIT_SWEEPS=all runs all of each sweep (`make test-sweeps`); ADIT_SWEEPS=<seed>, told at the end of a run, it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from random import Random, SystemRandom
from typing import Any, Final, TypeVar

import pytest

Case = TypeVar("Case")
Sample = Callable[[Sequence[Any], int], list[Any]]

WHOLE: Final = "all"
# Set for xdist's processes, which begin with this one's environment.
CHOICE: Final = os.environ.setdefault("ADIT_SWEEPS", str(SystemRandom().randrange(10**6)))


def sample_of(cases: Sequence[Case], most: int, choice: str, name: str) -> list[Case]:
    """At most so many of the cases, in their order: the same for the same choice and name."""
    if choice == WHOLE or len(cases) <= most:
        return list(cases)
    chosen = sorted(Random(f"{choice} {name}").sample(range(len(cases)), most))
    return [cases[index] for index in chosen]


@pytest.fixture
def sample(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> Sample:
    def drawn(cases: Sequence[Case], most: int) -> list[Case]:
        chosen = sample_of(cases, most, CHOICE, request.node.nodeid)
        if len(chosen) < len(cases):
            record_property("sample", f"{len(chosen)} of {len(cases)}")
        return chosen

    return drawn


def tell_of_samples(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    sampled = sum(1 for report in reports if any(name == "sample" for name, _ in report.user_properties))
    if sampled:
        terminalreporter.write_line(
            f"{sampled} sweeps ran a sample. The same again: ADIT_SWEEPS={CHOICE}; all of each: make test-sweeps"
        )
