"""Runs the benchmarks named on the command line, or all, inside the cluster's box: `benchmarks/cluster/run [first]`."""

from __future__ import annotations

import sys

from benchmarks.cluster import first_instance, kept_jobs, small_tasks, ten_thousand
from benchmarks.cluster.stage import stage

_ALL = {
    "first": first_instance.measure,
    "tasks": small_tasks.measure,
    "many": ten_thousand.measure,
    "kept": kept_jobs.measure,
}


def main(names: list[str]) -> None:
    with stage() as made:
        for name in names or list(_ALL):
            for result in _ALL[name](made):
                print(result.line(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
