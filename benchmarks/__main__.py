"""Runs the benchmarks named on the command line, or all: `python -m benchmarks [ledger] [roundtrip] [memory]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks import ledger_rates, memory, roundtrip

_ALL = {"ledger": ledger_rates.measure, "roundtrip": roundtrip.measure, "memory": memory.measure}


def main(names: list[str]) -> None:
    for name in names or list(_ALL):
        with tempfile.TemporaryDirectory(prefix="adit-bench-") as folder:
            for result in _ALL[name](Path(folder)):
                print(result.line(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
