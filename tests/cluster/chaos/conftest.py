"""Which kinds of death a session tries, and with which seed: all of them (`make test-chaos`), or a sample that is
another one each time. ADIT_CHAOS=all or a kind's name, and ADIT_CHAOS_SEED, say so."""

from __future__ import annotations

import os
from random import SystemRandom
from typing import Final

import pytest

from tests.cluster.chaos.plan import KINDS, TASKS, sample
from tests.cluster.installation import Installation
from tests.samples import Study, ct_study

SEED: Final = int(os.environ.get("ADIT_CHAOS_SEED") or SystemRandom().randrange(10**6))
_SAMPLE_SECONDS: Final = 330.0


def chosen_kinds() -> list[str]:
    wanted = os.environ.get("ADIT_CHAOS", "")
    if wanted == "all":
        return list(KINDS)
    return wanted.split(",") if wanted else sample(SEED, _SAMPLE_SECONDS)


def again() -> str:
    return f"ADIT_CHAOS_SEED={SEED} ADIT_CHAOS={','.join(chosen_kinds())} make test-chaos"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", chosen_kinds())


@pytest.fixture(scope="session")
def seed() -> int:
    return SEED


@pytest.fixture(scope="session")
def studies(release: Installation) -> list[Study]:
    """At the source, of eight instances each, about seventy kilobytes."""
    made = [
        ct_study(8, seed=f"chaos-{number}", size=64, patient_id=f"Patient-{number:04}-Okapi") for number in range(TASKS)
    ]
    for study in made:
        release.source.upload(*study.files())
    return made


@pytest.fixture
def slow_source(installation: Installation) -> str:
    """Through it a study takes some three seconds: a worker that dies has most likely begun, and not ended."""
    return installation.node("paced-pacs", limits={"tasks": 4, "associations": 4, "bytesPerSecond": "60k"})


def pytest_collection_finish(session: pytest.Session) -> None:
    """At once, as a run that hangs has no summary."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and any("tests/cluster/chaos/" in str(item.path) for item in session.items):
        reporter.write_line(f"\nchaos: seed {SEED}; the same again: {again()}")
