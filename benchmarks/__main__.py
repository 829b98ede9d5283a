"""Runs the benchmarks named on the command line, or all: `python -m benchmarks [start] [ledger] ...`."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import (
    bucket,
    deid_files,
    deid_roundtrip,
    ledger_rates,
    memory,
    pixel_masks,
    receiving,
    roundtrip,
    sending,
    web_fetch,
    worker_start,
)
from benchmarks.result import Result, printed

_ALL = {
    "start": worker_start.measure,
    "ledger": ledger_rates.measure,
    "send": sending.measure,
    "receive": receiving.measure,
    "roundtrip": roundtrip.measure,
    "wado": web_fetch.measure,
    "memory": memory.measure,
    "bucket": bucket.measure,
    "pixels": pixel_masks.measure,
    "deid": deid_files.measure,
    "deid-roundtrip": deid_roundtrip.measure,
}


def _measured(names: list[str]) -> Iterator[Result]:
    for name in names:
        with tempfile.TemporaryDirectory(prefix="adit-bench-") as folder:
            yield from _ALL[name](Path(folder))


if __name__ == "__main__":
    sys.exit(printed(_measured(sys.argv[1:] or list(_ALL))))
