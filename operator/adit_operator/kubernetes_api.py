"""The one place where the operator speaks to the API server, apart from kopf's watches: dict in, dict out.

Called from the launcher's, the sweep's, the status writer's and the leadership's threads. Built on the
official client's transport and login without its models, which would cost memory for each object.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Final

import structlog
import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException

from adit_operator.api_refusal import (
    Answer,
    ApiRefused,
    ObjectMissing,
    Refusal,
    invalid_fields,
    is_object_missing,
    parse,
    refusal_of,
    retry_after_of,
)
from adit_operator.api_request import (
    ACCESS_REVIEWS,
    DEID_PROFILES,
    DICOM_NODES,
    EVENTS,
    JOBS,
    LEASES,
    METADATA_ONLY,
    OURS,
    PODS,
    TRANSFER_JOBS,
    Kind,
    Object,
    Request,
)
from adit_operator.kubernetes_login import NoCluster, login
from adit_operator.metrics import API_REQUESTS

__all__ = [
    "DEID_PROFILES",
    "DICOM_NODES",
    "EVENTS",
    "JOBS",
    "LEASES",
    "OURS",
    "PODS",
    "TRANSFER_JOBS",
    "ApiRefused",
    "Kind",
    "KubernetesApi",
    "Object",
    "Refusal",
]

FIELD_MANAGER: Final = "adit-operator"
PAGE: Final = 500
MAX_RESTARTS: Final = 3
"""How often a list may begin anew because its continue token expired while it was read."""
MAX_TRIES: Final = 4
"""How often a status is applied anew because somebody else wrote the object meanwhile."""
MAX_REPEATS: Final = 4
"""How often a harmless request is sent while the server asks for patience (429, 503 with Retry-After)."""
MAX_PATIENCE: Final = 10.0
"""The longest Retry-After, in seconds, that is waited for here; the caller hears of a longer one at once."""

_log = structlog.get_logger()


class KubernetesApi:
    """Blocking and thread-safe. Every method raises `ApiRefused` for what it does not return."""

    def __init__(
        self,
        login: Callable[[], Configuration] = login,
        *,
        connect_seconds: float = 5,
        read_seconds: float = 30,
        wait: Callable[[float], object] = time.sleep,
        page: int = PAGE,
    ) -> None:
        """`login` is called now, and anew when the server no longer knows us. `wait` waits for so many seconds."""
        self._login = login
        self._client = ApiClient(login())
        self._timeouts = (connect_seconds, read_seconds)
        self._wait = wait
        self._page = page

    def close(self) -> None:
        self._client.close()

    def create(self, kind: Kind, namespace: str, body: Object) -> Object:
        """Sent once only: after UNAVAILABLE it may exist, and the caller can tell whether it is the caller's."""
        return self._do(Request("create", kind, namespace, body=body))

    def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """None if there is no such object; NOT_FOUND is raised if there is no such kind."""
        request = Request("get", kind, namespace, name)
        try:
            return self._do(request, patiently=True)
        except ObjectMissing:
            return None

    def list(self, kind: Kind, namespace: str | None, *, labels: str = "", fields: str = "") -> Iterator[Object]:
        """Each object that is there all the while exactly once, read by pages; of all namespaces with None.

        If the pages' token expires the list begins anew and leaves out what it has given. It raises
        rather than ending early. Objects of a list carry neither apiVersion nor kind.
        """
        given: set[str] = set()
        for restarts_left in reversed(range(MAX_RESTARTS + 1)):
            try:
                for item in self._pages(kind, namespace, labels, fields):
                    uid = item["metadata"]["uid"]
                    if uid not in given:
                        given.add(uid)
                        yield item
                return
            except ApiRefused as error:
                if error.refusal is not Refusal.GONE or not restarts_left:
                    raise

    def delete(
        self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, grace_seconds: int | None = None
    ) -> bool:
        """What it owns goes with it, in the background. False if it was not there, or has another uid."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            self._do(Request("delete", kind, namespace, name, body=options), patiently=True)
        except ObjectMissing:
            return False
        except ApiRefused as error:
            if error.refusal is Refusal.CONFLICT and uid is not None:
                return False
            raise
        return True

    def replace(self, kind: Kind, namespace: str, name: str, body: Object) -> Object:
        """Optimistic: `body` carries the resourceVersion that it was made from; CONFLICT if that is stale."""
        return self._do(Request("update", kind, namespace, name, body=body))

    def apply_status(self, kind: Kind, namespace: str, name: str, status: Object, *, uid: str | None = None) -> Object:
        """Makes `status` what we say of the object, by server-side apply; other managers' fields stay.

        NOT_FOUND if there is no such object; with `uid`, also if another one has the name by now.
        """
        metadata: Object = {"name": name, "namespace": namespace}
        body = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": metadata, "status": status}
        query = (("fieldManager", FIELD_MANAGER), ("force", "true"))
        request = Request("patch", kind, namespace, name, "status", query, body)
        if uid is None:
            return self._do(request, patiently=True)
        for tries_left in reversed(range(MAX_TRIES)):
            metadata["resourceVersion"] = self._version(kind, namespace, name, uid)
            try:
                return self._do(request, patiently=True)
            except ApiRefused as error:
                if error.refusal is not Refusal.CONFLICT or not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    def _version(self, kind: Kind, namespace: str, name: str, uid: str) -> str:
        """The resourceVersion of the object with this uid.

        A uid in what is applied to a status is not looked at by the server, but a resourceVersion is.
        """
        found = self._do(Request("get", kind, namespace, name, accept=METADATA_ONLY), patiently=True)["metadata"]
        if found["uid"] != uid:
            raise ObjectMissing(f"patch {kind.plural}/status", Refusal.NOT_FOUND)
        return str(found["resourceVersion"])

    def _pages(self, kind: Kind, namespace: str | None, labels: str, fields: str) -> Iterator[Object]:
        token = ""
        while True:
            query = {"limit": str(self._page), "labelSelector": labels, "fieldSelector": fields, "continue": token}
            page = self._do(
                Request("list", kind, namespace, query=tuple((key, value) for key, value in query.items() if value)),
                patiently=True,
            )
            items, metadata = page.get("items"), page.get("metadata")
            if not isinstance(items, list) or not isinstance(metadata, dict):  # a proxy's answer, say: no empty list
                raise ApiRefused(f"list {kind.plural}", Refusal.UNAVAILABLE, message="the answer is no list")
            yield from items
            token = metadata.get("continue", "")
            if not token:
                return

    def _do(self, request: Request, *, patiently: bool = False) -> Object:
        """`patiently`: the request is harmless when repeated, so a server that asks for patience gets some."""
        for repeats_left in reversed(range(MAX_REPEATS if patiently else 1)):
            answer = self._ask_known(request)
            if answer.code < 300:
                return answer.body
            pause = answer.retry_after if answer.code in (429, 503) else None
            if pause is None or pause > MAX_PATIENCE or not repeats_left:
                break
            self._wait(pause * (1 + random.random() / 2))  # noqa: S311
        raise self._refused(request, answer)

    def _ask_known(self, request: Request) -> Answer:
        """Logs in anew, once, if the server does not know us: nothing was done then, whatever was asked."""
        client = self._client
        answer = self._ask(client, request)
        if answer.code != 401:
            return answer
        try:
            self._client = ApiClient(self._login())
        except NoCluster:
            return answer
        client.close()
        return self._ask(self._client, request)

    def _ask(self, client: ApiClient, request: Request) -> Answer:
        code = "none"
        try:
            method, url, headers, body, _ = client.param_serialize(
                request.method,
                request.path,
                query_params=list(request.query),
                header_params={"Accept": request.accept, "Content-Type": request.content_type},
                body=request.body,
                auth_settings=["BearerToken"],
            )
            response = client.call_api(method, url, headers, body, _request_timeout=self._timeouts)
            text = response.read()
            code = str(response.status)
            return Answer(response.status, parse(text, response.status), retry_after_of(response.headers))
        except (urllib3.exceptions.HTTPError, ApiException, OSError, ValueError) as error:
            _log.debug("no_api_answer", verb=request.verb, kind=request.noun, error=str(error))
            raise ApiRefused(
                f"{request.verb} {request.noun}", Refusal.UNAVAILABLE, message=type(error).__name__
            ) from error
        finally:
            API_REQUESTS.labels(request.verb, request.noun, code).inc()

    def _refused(self, request: Request, answer: Answer) -> ApiRefused:
        refusal = refusal_of(answer)
        if refusal is Refusal.FORBIDDEN and request.kind != ACCESS_REVIEWS and self._may(request):
            refusal = Refusal.NOT_ADMITTED
        kind = ObjectMissing if refusal is Refusal.NOT_FOUND and is_object_missing(request, answer) else ApiRefused
        error = kind(
            f"{request.verb} {request.noun}",
            refusal,
            code=answer.code,
            retry_after=answer.retry_after,
            message=str(answer.body.get("message", "")),
            fields=invalid_fields(answer) if refusal is Refusal.INVALID else (),
        )
        _log.debug("api_refused", verb=request.verb, kind=request.noun, refusal=str(refusal), message=error.message)
        return error

    def _may(self, request: Request) -> bool:
        """Whether RBAC allows the request, so that something else must have refused it."""
        attributes = {
            "verb": request.verb,
            "group": request.kind.group,
            "version": request.kind.version,
            "resource": request.kind.plural,
            "subresource": request.subresource,
            "namespace": request.namespace,
            "name": request.name,
        }
        given = {key: value for key, value in attributes.items() if value is not None}
        review = {
            "apiVersion": ACCESS_REVIEWS.api_version,
            "kind": ACCESS_REVIEWS.name,
            "spec": {"resourceAttributes": given},
        }
        answer = self._do(Request("create", ACCESS_REVIEWS, None, body=review))
        return bool(answer["status"]["allowed"])
