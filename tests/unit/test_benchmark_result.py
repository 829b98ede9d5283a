"""What runs benchmarks tells a script by its exit code whether the goals were met, and a person which were not."""

from __future__ import annotations

import json

import pytest

from benchmarks.result import Result, printed


def result(name: str, ours: float) -> Result:
    return Result(name, ours, anchor=1.0, unit="s", goal="<= 2 s", holds=ours <= 2, anchor_is="a second")


def test_goals_that_are_met_are_a_success(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed([result("start", 1), result("end", 2)]) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["name"] for line in out.splitlines()] == ["start", "end"]
    assert err == ""


def test_a_goal_that_is_missed_fails_and_is_named_last(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed([result("start", 3), result("end", 2)]) == 1
    out, err = capsys.readouterr()
    assert [json.loads(line)["holds"] for line in out.splitlines()] == [False, True]
    assert err == "Goals not met: start (<= 2 s)\n"
