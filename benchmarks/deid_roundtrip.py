"""Orthanc → us → Orthanc, de-identified by the default profile, against the same without; and one object of 210 MB.

`python -m benchmarks deid-roundtrip`. Audit and verification are on, and every instance is proven at the destination.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from adit.deid.profiles import DEFAULT, ready
from adit.model.deid_profile import DeidProfile
from benchmarks.deid_files import ct_file
from benchmarks.result import Result
from benchmarks.rig import Bench, Worked, bench, fill, folder_node, job, node, work
from tests.peers.orthanc import Orthanc

_STUDY = "1.2.826.0.1.3680043.9.1"
_SLICES = 200
_ROUNDS = 7
_GOAL = 1.05
_MEBI = 2**20
_RSS_LIMIT = 120
_PROFILE = ready(DEFAULT)


def measure(folder: Path) -> Iterator[Result]:
    """Wall seconds, medians of rounds in turn, each into an empty destination; then peak RSS, folder to folder."""
    secrets = folder / "secrets"
    (secrets / _PROFILE.spec.key.secret_name).mkdir(parents=True)
    (secrets / _PROFILE.spec.key.secret_name / "key").write_bytes(os.urandom(32))
    with bench(folder) as rig:
        yield _roundtrip(folder, rig, secrets)
        yield _big(folder, rig, secrets)


def _roundtrip(folder: Path, rig: Bench, secrets: Path) -> Result:
    plain, treated = [], []
    with Orthanc(folder, aet="SOURCE") as source:
        pixels = os.urandom(512 * 512 * 2)
        fill(source, (ct_file(number, frames=1, pixels=pixels) for number in range(_SLICES)))
        rig.apply(node("source", source))
        for round_ in range(_ROUNDS):
            plain.append(_ours(folder, rig, secrets, f"plain-{round_}", None))
            treated.append(_ours(folder, rig, secrets, f"treated-{round_}", _PROFILE))
    ours, anchor = median(treated), median(plain)
    return Result(
        name=f"orthanc-to-orthanc-{_SLICES}-ct-deidentified",
        ours=ours,
        anchor=anchor,
        unit="s",
        goal=f"ratio <= {_GOAL}",
        holds=ours / anchor <= _GOAL,
        anchor_is="the same without a profile, in turn",
    )


def _ours(folder: Path, rig: Bench, secrets: Path, name: str, profile: DeidProfile | None) -> float:
    with Orthanc(folder, aet="OURS") as destination:
        rig.apply(node(name, destination))
        begun = time.perf_counter()
        worked = _work(rig, secrets, name, "source", profile)
        seconds = time.perf_counter() - begun
        assert worked.verified == destination.counts()["instances"] == _SLICES
    return seconds


def _big(folder: Path, rig: Bench, secrets: Path) -> Result:
    source = folder / "big"
    source.mkdir()
    (source / "1.dcm").write_bytes(ct_file(1, frames=400, pixels=os.urandom(_MEBI) * 200))
    peaks = []
    rig.apply(folder_node("big", source))
    for name, profile in (("big-plain", None), ("big-treated", _PROFILE)):
        (folder / name).mkdir()
        rig.apply(folder_node(name, folder / name))
        peaks.append(_work(rig, secrets, name, "big", profile).peak_rss / _MEBI)
    return Result(
        name="worker-rss-210-mb-object-deidentified",
        ours=peaks[1],
        anchor=peaks[0],
        unit="MiB",
        goal=f"ours <= {_RSS_LIMIT}",
        holds=peaks[1] <= _RSS_LIMIT,
        anchor_is="the same without a profile",
    )


def _work(rig: Bench, secrets: Path, destination: str, source: str, profile: DeidProfile | None) -> Worked:
    named = {} if profile is None else {"deidentification": {"profile": profile.metadata.name}}
    worked = work(rig, job(f"deid-{destination}", source, destination, [_STUDY], **named), profile, secrets=secrets)
    assert worked.exit_code == 0, worked
    return worked
