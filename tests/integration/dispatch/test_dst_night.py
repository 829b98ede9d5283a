"""The dispatcher through the two nights on which clocks change: tasks start exactly while the window is open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from adit.dispatch.dispatcher import Dispatcher
from adit.ledger.ledger import Ledger
from adit.model.dicom_node import Window
from adit.model.outcome import Outcome
from adit.model.transfer_job import StudySelection
from tests.integration.dispatch.scripted import INSTANCES, Destination, ScriptedLauncher
from tests.unit.dispatch.nouns import folder_node, transfer_job

TICK = timedelta(minutes=10)


@pytest.mark.parametrize(
    ("evening", "spans"),
    [
        # 02:30 does not exist on 2026-03-29 in Berlin: the window opens at 03:00 CEST, the first valid instant.
        ("2026-03-29T00:00", [("01:00", "02:00")]),
        # 02:00 to 03:00 comes twice on 2026-10-25: the wall clock decides, so what is after 02:30 is open both times.
        ("2026-10-25T00:00", [("00:30", "01:00"), ("01:30", "03:00")]),
    ],
    ids=["spring", "autumn"],
)
def test_tasks_start_only_while_the_window_is_open(
    ledger: Ledger, worker_url: str, evening: str, spans: list[tuple[str, str]]
) -> None:
    now = datetime.fromisoformat(evening).replace(tzinfo=UTC)
    launcher = ScriptedLauncher(worker_url, Destination())
    begun = now
    dispatcher = Dispatcher(
        ledger,
        launcher,
        clock=lambda: now,
        random=lambda: 0.0,
        monotonic=lambda: (now - begun).total_seconds(),
    )
    window = Window.model_validate({"from": "02:30", "to": "04:00", "timeZone": "Europe/Berlin"})
    ledger.apply_node(folder_node("pacs", windows=(window,)), now)
    ledger.apply_node(folder_node("research"), now)
    studies = tuple(StudySelection(study_instance_uid=f"1.2.{number}") for number in range(30))
    ledger.apply_job(transfer_job(studies=studies, parallelism=1), now)

    started: list[datetime] = []
    while now < begun + timedelta(hours=4):
        known = len(launcher.workers)
        dispatcher.step()
        started += [now] * (len(launcher.workers) - known)
        for worker in launcher.running():
            worker.begin(now)
            worker.work(INSTANCES, now)
            worker.report(Outcome.SUCCESS, (), (), now)
        now += TICK

    ticks = [begun + TICK * number for number in range(int(timedelta(hours=4) / TICK))]
    assert started == [tick for tick in ticks if any(opens <= f"{tick:%H:%M}" < closes for opens, closes in spans)]
