"""kopf, and all that is known of it: watches our resources, our Jobs and pods that fail, and passes each event on.

Run by `main` while this operator leads. Events are hints: they are handed to the intake and the launcher, which
look at the object as it is. No change handlers, no index, no timers, so that kopf never writes to an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import kopf
import structlog

from adit.model.resource import GROUP
from adit_operator.intake import Intake
from adit_operator.job_manifest import SELECTOR, is_selected
from adit_operator.kubernetes_api import OURS, Kind
from adit_operator.kubernetes_launcher import KubernetesLauncher

_log = structlog.get_logger(__name__)

_THREADS: Final = 4
_JOBS: Final = ("batch", "v1", "jobs")
_PODS: Final = ("", "v1", "pods")


def settings() -> kopf.OperatorSettings:
    """kopf's own choices suit few objects and handlers that write; ours are many, and nothing is written."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False  # what people are told, `cluster_events` tells
    chosen.scanning.disabled = True  # else it needs rights on all CRDs and namespaces; `main` waits for our CRDs
    chosen.peering.standalone = True  # peering elects nobody and fences nothing; `leadership` does
    chosen.watching.chunk_size = 500
    chosen.watching.server_timeout = 600  # a watch that hangs ends for good after a while
    chosen.watching.client_timeout = 660
    chosen.watching.connect_timeout = 10
    chosen.watching.label_selectors[_JOBS] = SELECTOR  # written "batch/jobs", the key matches nothing, silently
    chosen.watching.label_selectors[_PODS] = SELECTOR
    chosen.watching.field_selectors[_PODS] = "status.phase=Failed"  # one event of a pod, and none of a good one
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 10
    chosen.queueing.idle_timeout = 0.5  # so long each object's body is held: 5 s take three times the memory
    chosen.queueing.worker_limit = None  # with a limit, starting with many objects is slower and takes more memory
    # No handler of ours makes kopf write these. If one ever did, they would bear our name.
    chosen.persistence.finalizer = f"{GROUP}/unused"
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    chosen.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=GROUP)
    return chosen


def registry(intake: Intake, launcher: KubernetesLauncher, threads: ThreadPoolExecutor) -> kopf.OperatorRegistry:
    """The handlers. kopf calls them for one object one after the other."""
    chosen = kopf.OperatorRegistry()

    @kopf.on.login(registry=chosen)
    def login(**arguments: Any) -> kopf.ConnectionInfo | None:
        return kopf.login_with_kubeconfig(**arguments) or kopf.login_with_service_account(**arguments)

    def on_event(kind: Kind) -> None:
        @kopf.on.event(kind.group, kind.version, kind.plural, registry=chosen)
        async def event(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002 - kopf's name
            action = intake.gone if type == "DELETED" else intake.take
            await asyncio.get_running_loop().run_in_executor(threads, action, kind, dict(body))

    for kind in OURS:
        on_event(kind)

    strangers = StrangersAlarm()

    @kopf.on.event(*_JOBS, registry=chosen)
    async def job(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        if not is_selected(body):
            strangers.ring()
            return
        (launcher.job_deleted if type == "DELETED" else launcher.job_changed)(dict(body))

    @kopf.on.event(*_PODS, registry=chosen)
    async def pod(body: kopf.Body, **_: Any) -> None:
        if is_selected(body):
            launcher.pod_failed(dict(body))  # also as it goes: where both come at once kopf tells the last only

    return chosen


class StrangersAlarm:
    """Tells, once, that kopf does not apply our selector: then every Job of the cluster is sent to us and held.

    Nothing is done wrongly then, only at a price, so the process goes on.
    """

    def __init__(self) -> None:
        self._rung = False

    def ring(self) -> None:
        if not self._rung:
            self._rung = True
            _log.error("Jobs that are not ours are watched", selector=SELECTOR)


async def watch(
    intake: Intake,
    launcher: KubernetesLauncher,
    namespaces: Sequence[str] | None,
    *,
    identity: str,
    stop: asyncio.Event,
) -> None:
    """Watches until `stop`. Raises what ends a watch for good: then the process must end, and begin anew."""
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="intake") as threads:
        await kopf.operator(
            registry=registry(intake, launcher, threads),
            settings=settings(),
            standalone=True,
            # Not used, as there are no peers; else kopf asks for the user's name, and a pod's user has none.
            identity=identity,  # type: ignore[arg-type]
            clusterwide=namespaces is None,
            namespaces=() if namespaces is None else tuple(namespaces),
            stop_flag=stop,
        )
