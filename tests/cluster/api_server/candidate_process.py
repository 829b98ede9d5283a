"""A candidate in a process of its own, to be killed and frozen: `python -m tests.cluster.api_server.candidate_process`.

Works by appending lines to a file, as long as it leads. Arguments: namespace, identity, file.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from adit_operator.election import ElectionSettings
from adit_operator.kubernetes_api import KubernetesApi
from adit_operator.leadership import Leadership, NotLeading

LEASE = "adit-operator"
SETTINGS = ElectionSettings(lease=3, renew=2, retry=0.3)
LOST = 3
"""Exit code of a leader that had to stop leading."""


def main(namespace: str, identity: str, file: str) -> int:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    api = KubernetesApi(connect_seconds=0.5, read_seconds=1)
    leadership = Leadership(api, namespace, LEASE, identity, on_lost=lambda: os._exit(LOST), settings=SETTINGS)
    leadership.start()
    while not stopped.is_set() and not leadership.wait(0.05):
        pass
    with Path(file).open("a", encoding="utf-8") as work:
        while not stopped.wait(0.02):
            try:
                leadership.check()
            except NotLeading:
                os._exit(LOST)  # at once, without waiting for the threads
            work.write(f"{identity}\n")
            work.flush()
    leadership.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
