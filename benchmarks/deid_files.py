"""De-identifying files, audit and verification on, file in to file out: 200 slices, and one object of 210 MB.

Slices whose pixels use all of their bits, and such as use 12 of 16, which are looked through for what the others hold.

The anchor is a plain copy of the same files, in turn with ours in one process on one core. What counts is CPU time,
user and system, medians of rounds: it is all that either does, and waiting for the core is no part of it. A second
anchor is dicognito, which upstream uses: not ours to install, so only where ADIT_BENCH_DICOGNITO names a Python that
has it (`python -m venv X && X/bin/pip install dicognito==0.19.0`).
"""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from adit.dicom.file_meta import encoded_file_meta
from benchmarks.result import Result

_CT = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_SLICES = 200
_ROUNDS = 9
_DICOGNITO = "ADIT_BENCH_DICOGNITO"
_TIMES_DICOGNITO = 5
_RSS_LIMIT = 120
_TEXTS = ((0x0008, 0x0005, "CS", "ISO_IR 100"), (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"))


def measure(folder: Path) -> Iterator[Result]:
    slices, spare, big = folder / "slices", folder / "12-bits", folder / "big"
    slices.mkdir()
    spare.mkdir()
    for number in range(_SLICES):
        pixels = os.urandom(512 * 512 * 2)
        (slices / f"{number:04}.dcm").write_bytes(ct_file(number, frames=1, pixels=pixels))
        few = ct_file(number, frames=1, pixels=_of_12_bits(pixels), stored=12)
        (spare / f"{number:04}.dcm").write_bytes(few)
    big.mkdir()
    (big / "1.dcm").write_bytes(ct_file(1, frames=400, pixels=os.urandom(2**20) * 200))
    turns = _turns(slices, folder)
    yield _against_copy("deid.ct512", "files/s", _SLICES, turns, 0.65)
    looked_through = _turns(spare, folder)
    yield _against_copy("deid.ct512.12-bits", "files/s", _SLICES, looked_through, None)
    if python := os.environ.get(_DICOGNITO):
        yield _against_dicognito(python, slices, folder, turns)
    turns = _turns(big, folder)
    yield _against_copy("deid.210MB", "MB/s", 210, turns, 0.6)
    holds = turns.peak <= _RSS_LIMIT
    yield Result("deid.210MB.rss", turns.peak, _RSS_LIMIT, "MiB", f"at most {_RSS_LIMIT}", holds, "the limit")


@dataclass(frozen=True, slots=True)
class _Turns:
    """CPU seconds of all files, copied and treated; and the peak of our memory in MiB."""

    copied: float
    treated: float
    peak: float


def _against_copy(name: str, unit: str, amount: int, turns: _Turns, goal: float | None) -> Result:
    ours, anchor = amount / turns.treated, amount / turns.copied
    says = "none" if goal is None else f"at least {goal} of a plain copy"
    return Result(name, ours, anchor, unit, says, ours >= (goal or 0) * anchor, "shutil.copyfile of the same, CPU time")


def _of_12_bits(pixels: bytes) -> bytes:
    cut = bytearray(pixels)
    cut[1::2] = cut[1::2].translate(bytes(each & 0x0F for each in range(256)))
    return bytes(cut)


def _against_dicognito(python: str, source: Path, folder: Path, turns: _Turns) -> Result:
    target = folder / "dicognito"
    target.mkdir()
    script = Path(__file__).with_name("dicognito_files.py")
    ended = _on_one_core([python, str(script), str(source), str(target)])
    shutil.rmtree(target)
    ours, anchor = _SLICES / turns.treated, _SLICES / float(ended)
    says = f"at least {_TIMES_DICOGNITO} times dicognito"
    return Result("deid.dicognito", ours, anchor, "files/s", says, ours >= _TIMES_DICOGNITO * anchor, "dicognito")


def _turns(source: Path, folder: Path) -> _Turns:
    target = folder / "target"
    told = _on_one_core([sys.executable, "-m", "benchmarks.deid_files", str(source), str(target)])
    return _Turns(**json.loads(told))


def _on_one_core(command: list[str]) -> str:
    """Runs it, for what it prints."""
    core = {min(os.sched_getaffinity(0))}
    pinned = [
        sys.executable,
        "-c",
        f"import os, sys; os.sched_setaffinity(0, {core}); os.execv(sys.argv[1], sys.argv[1:])",
    ]
    return subprocess.run([*pinned, *command], check=True, capture_output=True, text=True).stdout


def ct_file(number: int, *, frames: int, pixels: bytes, stored: int = 16) -> bytes:
    """A CT of about 250 elements, most of them the maker's own, as they come from scanners."""
    uid = f"1.2.826.0.1.3680043.9.{number}"
    texts: list[tuple[int, int, str, str]] = [
        *_TEXTS,
        (0x0008, 0x0016, "UI", _CT),
        (0x0008, 0x0018, "UI", f"{uid}.3"),
        *((0x0008, each, "DA", "20240301") for each in (0x20, 0x21, 0x22, 0x23)),
        *((0x0008, each, "TM", "101112.5") for each in (0x30, 0x31, 0x32, 0x33)),
        (0x0008, 0x0050, "SH", "ACC-4711"),
        (0x0008, 0x0060, "CS", "CT"),
        (0x0008, 0x0070, "LO", "Maker"),
        (0x0008, 0x0080, "LO", "City Hospital"),
        (0x0008, 0x0090, "PN", "Physician^Some"),
        (0x0008, 0x1030, "LO", "CT Thorax"),
        (0x0008, 0x103E, "LO", "Lung 1mm"),
        *((0x0009, 0x1000 + each, "LO", f"maker's own {each}") for each in range(40)),
        (0x0010, 0x0010, "PN", "Zyxwvut^Quorra"),
        (0x0010, 0x0020, "LO", "MRN-990017"),
        (0x0010, 0x0030, "DA", "19610203"),
        (0x0010, 0x0040, "CS", "F"),
        (0x0010, 0x1010, "AS", "063Y"),
        *((0x0018, each, "DS", "1.25") for each in (0x50, 0x60, 0x88, 0x90, 0x1100, 0x1110, 0x1111, 0x1120, 0x1150)),
        *((0x0019, 0x1000 + each, "DS", f"{number + each}") for each in range(90)),
        (0x0020, 0x000D, "UI", "1.2.826.0.1.3680043.9.1"),
        (0x0020, 0x000E, "UI", "1.2.826.0.1.3680043.9.2"),
        (0x0020, 0x0013, "IS", str(number)),
        (0x0020, 0x0032, "DS", f"0\\0\\{number}"),
        (0x0020, 0x1041, "DS", str(number)),
        (0x0028, 0x0004, "CS", "MONOCHROME2"),
        *([(0x0028, 0x0008, "IS", str(frames))] if frames > 1 else []),
        *((0x0043, 0x1000 + each, "LO", f"maker's own {each}") for each in range(70)),
    ]
    numbers = {0x0002: 1, 0x0010: 512, 0x0011: 512, 0x0100: 16, 0x0101: stored, 0x0102: stored - 1, 0x0103: 0}
    elements = {(group, each): _element(group, each, vr, text.encode()) for group, each, vr, text in texts}
    elements |= {(0x0028, each): _element(0x0028, each, "US", struct.pack("<H", at)) for each, at in numbers.items()}
    pixel_header = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels))
    body = b"".join(elements[each] for each in sorted(elements))
    return encoded_file_meta(_CT, f"{uid}.3", _EXPLICIT) + body + pixel_header + pixels


def _element(group: int, number: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def _take_turns(source: Path, target: Path) -> None:
    """In a process of its own: prints what a `_Turns` holds."""
    from adit.cli.deid_files import deidentified, files_in
    from adit.deid.audit import Audit
    from adit.deid.engine.deidentified import Deidentified
    from adit.deid.engine.instance import Engine
    from adit.deid.identity import Identity
    from adit.deid.policy import Policy
    from adit.deid.profiles import ready

    policy = Policy(ready("research"))

    def copy() -> None:
        for file in files_in(source):
            shutil.copyfile(file, target / file.name)

    def treat() -> None:
        """By an engine that knows nothing of them yet."""
        engine = Engine(policy, Identity(bytes(range(32)), "benchmark"))
        with (target / "audit.jsonl").open("w", encoding="utf-8") as file:
            audit = Audit(file, engine)
            for _, made in deidentified(files_in(source), target, engine):
                assert isinstance(made, Deidentified)
                audit.treated(made)

    def seconds(work: Callable[[], None]) -> float:
        target.mkdir()
        begin = time.process_time()
        work()
        taken = time.process_time() - begin
        shutil.rmtree(target)
        return taken

    rounds = [(seconds(copy), seconds(treat)) for _ in range(_ROUNDS + 1)][1:]
    copied, treated = (median(each) for each in zip(*rounds, strict=True))
    print(json.dumps({"copied": copied, "treated": treated, "peak": _peak()}))


def _peak() -> float:
    """MiB; ru_maxrss would count what the process that started this one had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    _take_turns(Path(sys.argv[1]), Path(sys.argv[2]))
