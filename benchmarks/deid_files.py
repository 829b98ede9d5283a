"""De-identifying files, audit and verification on, file in to file out: 200 slices, and one object of 210 MB.

The anchor is a plain copy of the same files in the same run. Everything is on one core.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from adit.dicom.file_meta import encoded_file_meta
from benchmarks.result import Result

_CT = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_SLICES = 200
_ROUNDS = 3
_RSS_LIMIT = 120
_TEXTS = ((0x0008, 0x0005, "CS", "ISO_IR 100"), (0x0008, 0x0008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"))


def measure(folder: Path) -> Iterator[Result]:
    slices, big = folder / "slices", folder / "big"
    slices.mkdir()
    for number in range(_SLICES):
        (slices / f"{number:04}.dcm").write_bytes(ct_file(number, frames=1, pixels=os.urandom(512 * 512 * 2)))
    big.mkdir()
    (big / "1.dcm").write_bytes(ct_file(1, frames=400, pixels=os.urandom(2**20) * 200))
    copied, treated, _ = _best(slices, folder)
    yield Result(
        "deid.ct512",
        treated,
        copied,
        "files/s",
        "at least 0.65 of a plain copy",
        treated >= 0.65 * copied,
        "shutil.copyfile of the same files",
    )
    copied, treated, memory = _best(big, folder)
    yield Result(
        "deid.210MB",
        treated * 210,
        copied * 210,
        "MB/s",
        "at least 0.6 of a plain copy",
        treated >= 0.6 * copied,
        "shutil.copyfile of the same file",
    )
    yield Result(
        "deid.210MB.rss", memory, _RSS_LIMIT, "MiB", f"at most {_RSS_LIMIT}", memory <= _RSS_LIMIT, "the limit"
    )


def _best(source: Path, folder: Path) -> tuple[float, float, float]:
    """Files a second of the copy and of us, each the best of some rounds; and our memory."""
    copied = treated = memory = 0.0
    files = list(source.iterdir())
    for _ in range(_ROUNDS):
        target = folder / "target"
        target.mkdir()
        begin = time.perf_counter()
        for file in files:
            shutil.copyfile(file, target / file.name)
        copied = max(copied, len(files) / (time.perf_counter() - begin))
        shutil.rmtree(target)
        command = [sys.executable, "-m", "benchmarks.deid_files", str(source), str(target)]
        ended = subprocess.run(command, check=True, capture_output=True, text=True)
        seconds, peak = ended.stdout.split()
        treated = max(treated, len(files) / float(seconds))
        memory = float(peak)
        shutil.rmtree(target)
    return copied, treated, memory


def ct_file(number: int, *, frames: int, pixels: bytes) -> bytes:
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
    numbers = {0x0002: 1, 0x0010: 512, 0x0011: 512, 0x0100: 16, 0x0101: 16, 0x0102: 15, 0x0103: 0}
    elements = {(group, each): _element(group, each, vr, text.encode()) for group, each, vr, text in texts}
    elements |= {(0x0028, each): _element(0x0028, each, "US", struct.pack("<H", at)) for each, at in numbers.items()}
    pixel_header = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, len(pixels))
    body = b"".join(elements[each] for each in sorted(elements))
    return encoded_file_meta(_CT, f"{uid}.3", _EXPLICIT) + body + pixel_header + pixels


def _element(group: int, number: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, vr.encode(), len(value)) + value


def _treat(source: Path, target: Path) -> None:
    """In a process of its own: prints seconds and the peak of its memory in MiB."""
    from adit.cli.deid_files import deidentify, files_in
    from adit.deid.audit import Audit
    from adit.deid.engine.instance import Engine
    from adit.deid.identity import Identity
    from adit.deid.policy import Policy
    from adit.deid.profiles import ready

    engine = Engine(Policy(ready("research")), Identity(bytes(range(32)), "benchmark"))
    target.mkdir()
    with (target / "audit.jsonl").open("w", encoding="utf-8") as file:
        begin = time.perf_counter()
        audit = Audit(file, engine)
        for path in files_in(source):
            audit.treated(deidentify(path, target, engine))
        seconds = time.perf_counter() - begin
    print(seconds, _peak())


def _peak() -> float:
    """MiB; ru_maxrss would count what the process that started this one had."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    _treat(Path(sys.argv[1]), Path(sys.argv[2]))
