"""An admission webhook on a real TLS port that answers what a test tells it to."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.peers.certificates import Certificates


class Webhook:
    """`answer` gives the `response` of the review, without its uid; block in it to let the server time out."""

    def __init__(self, certificates: Certificates, name: str, answer: Callable[[], dict[str, Any]]) -> None:
        self.name = name
        self.asked = 0
        self._ca = certificates.ca
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.asked += 1
                response = {"uid": review["request"]["uid"], **answer()}
                body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response})
                try:
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.end_headers()
                    self.wfile.write(body.encode())
                except OSError:  # the API server has given up
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        files = certificates.issue(name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files / "tls.crt", files / "tls.key")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def configuration(self, namespace: str, resource: str, timeout_seconds: int = 5) -> dict[str, Any]:
        """The object that makes the API server ask it before a `resource` of the core group is created there."""
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.name},
            "webhooks": [
                {
                    "name": f"{self.name}.test.example.org",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "failurePolicy": "Fail",
                    "timeoutSeconds": timeout_seconds,
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "rules": [
                        {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}
                    ],
                    "clientConfig": {
                        "url": f"https://127.0.0.1:{self._server.server_port}/",
                        "caBundle": base64.b64encode(self._ca.read_bytes()).decode(),
                    },
                }
            ],
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
