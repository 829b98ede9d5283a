"""An API server's manners in one small thread: what is asked of it, in which words, and what it deletes along.

For tests of how the launcher and the watch ask; whether a real API server understands them is for tests/cluster.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from adit_operator.kubernetes_api import JOBS, OURS, PODS, Kind, Object

NAMESPACES = Kind("", "v1", "namespaces", "Namespace")
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
SERVED = (*OURS, JOBS, PODS, NAMESPACES, CRDS)


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: Object

    @property
    def plural(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"


@dataclass
class ApiServer:
    """Everything is in one namespace. Jobs and pods are made by `create`, or put into `objects` by a test."""

    filters: bool = True  # whether it honours label selectors
    objects: dict[str, list[Object]] = field(default_factory=lambda: {kind.plural: [] for kind in SERVED})
    asked: list[Asked] = field(default_factory=list)
    made_at: str = "2026-03-10T12:00:00Z"

    def __enter__(self) -> Self:
        self._stopped = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self) -> None:
        """A watch's silence."""
        self._stopped.wait()

    def answer(self, asked: Asked) -> tuple[int, Object]:
        self.asked.append(asked)
        discovered = _discovery(asked.path)
        if discovered is not None:
            return 200, discovered
        parts = asked.path.strip("/").split("/")
        parts = parts[3:] if parts[0] == "apis" else parts[2:]  # without group and version
        parts = parts[2:] if parts[0] == "namespaces" and len(parts) > 2 else parts
        things = self.objects[parts[0]]
        if asked.method == "POST":
            made = {"uid": str(uuid4()), "creationTimestamp": self.made_at}
            things.append(asked.body | {"metadata": asked.body["metadata"] | made})
            return 201, things[-1]
        if len(parts) == 1:
            return 200, {"metadata": {"resourceVersion": "1"}, "items": self._selected(things, asked.query)}
        found = next((each for each in things if each["metadata"]["name"] == parts[1]), None)
        if found is None:
            return 404, {"reason": "NotFound", "details": {"name": parts[1], "kind": parts[0]}}
        if asked.method == "DELETE":
            self._delete(things, found, asked.body)
        return 200, found

    def _delete(self, things: list[Object], found: Object, options: Object) -> None:
        """As for Jobs: without a word on what becomes of them, pods stay."""
        assert options["preconditions"]["uid"] == found["metadata"]["uid"]
        things.remove(found)
        if options.get("propagationPolicy") == "Background":
            self.objects["pods"] = [each for each in self.objects["pods"] if owner_of(each) != found["metadata"]["uid"]]

    def _selected(self, things: Iterable[Object], query: dict[str, str]) -> list[Object]:
        labels = _pairs(query.get("labelSelector", "")) if self.filters else {}
        fields = _pairs(query.get("fieldSelector", ""))
        return [
            each
            for each in things
            if labels.items() <= each["metadata"].get("labels", {}).items()
            and fields.get("status.phase", _phase(each)) == _phase(each)
        ]


def owner_of(thing: Object) -> str:
    return str(thing["metadata"]["ownerReferences"][0]["uid"])


def _phase(thing: Object) -> object:
    return thing.get("status", {}).get("phase")


def _pairs(selector: str) -> dict[str, str]:
    return dict(each.split("=", 1) for each in selector.split(",") if each)


def _discovery(path: str) -> Object | None:
    groups: dict[str, list[Kind]] = {}
    for kind in SERVED:
        groups.setdefault(kind.api_version, []).append(kind)
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        named = [each.split("/") for each in groups if "/" in each]
        return {
            "groups": [
                {"name": group, "versions": [{"version": version}], "preferredVersion": {"version": version}}
                for group, version in named
            ]
        }
    served = groups.get(path.removeprefix("/apis/").removeprefix("/api/"))
    if served is None:
        return None
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources = [
        {"name": kind.plural, "singularName": kind.name.lower(), "kind": kind.name, "verbs": verbs}
        | {"namespaced": kind not in (NAMESPACES, CRDS)}
        for kind in served
    ]
    return {"groupVersion": served[0].api_version, "resources": resources}


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
            return

        def _respond(self) -> None:
            url = urlsplit(self.path)
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else {}
            asked = Asked(self.command, url.path, dict(parse_qsl(url.query)), body)
            code, document = server.answer(asked)
            data = json.dumps(document).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Connection", "close")
            self.close_connection = True
            if not asked.is_watch:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if asked.is_watch:
                self.wfile.flush()
                server.wait()
            else:
                self.wfile.write(data)

        do_GET = do_POST = do_DELETE = do_PATCH = do_PUT = _respond  # noqa: N815 - the base's names

    return Handler
