"""A watch of the API server as a stream: each change of what is watched, at the moment when it is told.

Used by the benchmarks, so that nothing has to be asked again and again while it is measured.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import urllib3
from kubernetes.client.api_client import ApiClient

from adit_operator.kubernetes_login import login

Object = dict[str, Any]


class Watching:
    """Begun by `with`; `changes` gives (moment by time.perf_counter, type, object), what is there already first."""

    def __init__(self, path: str, labels: str = "") -> None:
        """`path` as the API server has it, such as /apis/batch/v1/namespaces/x/jobs."""
        self._client = ApiClient(login())
        self._url = f"{self._client.configuration.host}{path}?watch=1&labelSelector={labels}&allowWatchBookmarks=false"
        self._changes: queue.Queue[tuple[float, str, Object]] = queue.Queue()

    def __enter__(self) -> Self:
        self._response = self._client.rest_client.pool_manager.request(
            "GET", self._url, preload_content=False, timeout=None, headers={"Accept": "application/json"}
        )
        assert self._response.status == 200, self._response.status
        threading.Thread(target=self._read, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._response.shutdown()
        self._client.close()

    def changes(self, within: float) -> Iterator[tuple[float, str, Object]]:
        """Each change, until the caller has what it wants; AssertionError after `within` seconds."""
        deadline = time.monotonic() + within
        while True:
            try:
                yield self._changes.get(timeout=max(0.001, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"waited {within:g} s in vain for what {self._url} was to tell") from None

    def _read(self) -> None:
        rest = b""
        try:
            for chunk in self._response.stream(65536, decode_content=False):
                moment = time.perf_counter()
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    change = json.loads(line)
                    self._changes.put((moment, change["type"], change["object"]))
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError):
            return  # shut down


def is_complete(job: Object) -> bool:
    """Of a Job (batch/v1) that has ended; AssertionError if it has failed."""
    conditions = {each["type"]: each["status"] for each in job.get("status", {}).get("conditions", ())}
    assert conditions.get("Failed") != "True", job["metadata"]["name"]
    return conditions.get("Complete") == "True"


def has_started(pod: Object) -> bool:
    """Of a pod whose container runs or has run."""
    states = [each["state"] for each in pod.get("status", {}).get("containerStatuses", ())]
    return any("running" in state or "terminated" in state for state in states)
