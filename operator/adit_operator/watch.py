"""kopf, and all that is known of it: watches our resources and our Jobs, and passes each event on.

Run by `main` while this operator leads. Events are hints: they are handed to the intake and the launcher, which
look at the object as it is. No change handlers, no index, no timers, so that kopf never writes to an object.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import kopf

from adit.model.resource import GROUP
from adit_operator.intake import Intake
from adit_operator.job_manifest import SELECTOR
from adit_operator.kubernetes_api import OURS, Kind
from adit_operator.kubernetes_launcher import KubernetesLauncher

_THREADS: Final = 4
_JOBS: Final = ("batch", "v1", "jobs")


def settings() -> kopf.OperatorSettings:
    """Each line has its measured reason in notes/operator-practice.md 2.2."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.watching.chunk_size = 500
    chosen.watching.server_timeout = 600
    chosen.watching.client_timeout = 660
    chosen.watching.connect_timeout = 10
    chosen.watching.label_selectors[_JOBS] = SELECTOR
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 10
    chosen.queueing.idle_timeout = 0.5
    chosen.queueing.worker_limit = None
    chosen.persistence.finalizer = f"{GROUP}/unused"
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

    @kopf.on.event(*_JOBS, registry=chosen)
    async def job(type: str | None, body: kopf.Body, **_: Any) -> None:  # noqa: A002
        (launcher.job_deleted if type == "DELETED" else launcher.job_changed)(dict(body))

    return chosen


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
