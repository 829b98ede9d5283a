"""Runs the benchmarks named on the command line, or all, inside the cluster's box: `benchmarks/cluster/run [first]`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from benchmarks.cluster import first_instance, kept_jobs, small_tasks, ten_thousand, worker_image
from benchmarks.cluster.stage import stage
from benchmarks.result import Result, printed

_ALL = {
    "first": first_instance.measure,
    "tasks": small_tasks.measure,
    "many": ten_thousand.measure,
    "kept": kept_jobs.measure,
    "image": worker_image.measure,
}


def _measured(names: list[str]) -> Iterator[Result]:
    with stage() as made:
        for name in names:
            yield from _ALL[name](made)


if __name__ == "__main__":
    sys.exit(printed(_measured(sys.argv[1:] or list(_ALL))))
