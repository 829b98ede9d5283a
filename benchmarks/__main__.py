"""Runs the benchmarks named on the command line, or all: `python -m benchmarks [start] [ledger] ...`."""

from __future__ import annotations

import sys
import tempfile
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


def main(names: list[str]) -> None:
    for name in names or list(_ALL):
        with tempfile.TemporaryDirectory(prefix="adit-bench-") as folder:
            for result in _ALL[name](Path(folder)):
                print(result.line(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
