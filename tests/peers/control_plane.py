"""A real etcd, kube-apiserver and kube-controller-manager without a node, to break as a test likes.

The same programs as the test cluster's, but a test's own: it may be frozen and killed without anybody
else noticing. For what needs pods there is the cluster.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import urllib3

from tests.peers.certificates import Certificates
from tests.peers.server_process import ServerProcess, free_port, listens

CRDS: Final = Path(__file__).parents[2] / "crds"
PROGRAMS: Final = Path(os.environ.get("ADIT_CLUSTER_CACHE", "/var/cache/adit-cluster")) / "bin"
ADMIN: Final = "admin-of-the-test"
"""The bearer token of the one who may do everything."""
_CONTROLLERS: Final = "garbage-collector-controller,resourcequota-controller,namespace-controller"


class ControlPlane:
    """Its API server listens on the loopback, with a certificate of `ca`; `tokens` maps bearer tokens to groups."""

    host = "127.0.0.1"

    def __init__(self, tmp: Path, *, tokens: dict[str, str] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="control-plane-", dir=tmp))
        self.certificates = Certificates(self.folder)
        self.ca = self.certificates.ca
        self.port, self._etcd_port, self._peer_port, self._manager_port = (free_port() for _ in range(4))
        self._tokens = {ADMIN: "system:masters", **(tokens or {})}
        self._processes: list[ServerProcess] = []

    @property
    def url(self) -> str:
        return f"https://{self.host}:{self.port}"

    @property
    def api_server(self) -> ServerProcess:
        return self._processes[1]

    def start(self) -> None:
        serving = self.certificates.issue("kube-apiserver")
        accounts = self.certificates.issue("service-accounts")
        rows = [f'{token},user-{index},{index},"{group}"' for index, (token, group) in enumerate(self._tokens.items())]
        (self.folder / "tokens.csv").write_text("\n".join(rows) + "\n")
        etcd = f"http://{self.host}:{self._etcd_port}"
        peers = f"http://{self.host}:{self._peer_port}"
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
        ).wait_until(lambda: listens(self._etcd_port))
        self._run(
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            f"--bind-address={self.host}",
            f"--advertise-address={self.host}",
            f"--secure-port={self.port}",
            "--service-cluster-ip-range=10.97.0.0/16",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--etcd-compaction-interval=2s",  # so that continue tokens expire soon: after 2 to 4 s
            "--goaway-chance=0",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            f"--cert-dir={self.folder}",
            f"--tls-cert-file={serving / 'tls.crt'}",
            f"--tls-private-key-file={serving / 'tls.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={accounts / 'tls.key'}",
            f"--service-account-signing-key-file={accounts / 'tls.key'}",
        ).wait_until(self._ready, 60)
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig()}",
            f"--controllers={_CONTROLLERS}",
            "--leader-elect=false",
            f"--secure-port={self._manager_port}",
            f"--bind-address={self.host}",
            f"--cert-dir={self.folder}",
            "--concurrent-gc-syncs=2",
        ).wait_until(lambda: listens(self._manager_port))

    def stop(self) -> None:
        while self._processes:
            self._processes.pop().kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def kubeconfig(self, token: str = ADMIN, server: str | None = None) -> Path:
        """A file for KUBECONFIG; `server` is the API server's address if absent."""
        named = {"name": "it"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**named, "cluster": {"server": server or self.url, "certificate-authority": str(self.ca)}}],
            "users": [{**named, "user": {"token": token}}],
            "contexts": [{**named, "context": {"cluster": "it", "user": "it"}}],
            "current-context": "it",
        }
        file = Path(tempfile.mkstemp(prefix="kubeconfig-", dir=self.folder)[1])
        file.write_text(json.dumps(document))
        return file

    def kubectl(self, *arguments: str, document: object = None) -> str:
        """Runs it as the administrator, with `document` as its standard input."""
        done = self._kubectl(*arguments, document=document)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def allows(self, *arguments: str) -> bool:
        """Whether kubectl succeeds with these arguments."""
        return self._kubectl(*arguments).returncode == 0

    def _kubectl(self, *arguments: str, document: object = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(PROGRAMS / "kubectl"), f"--kubeconfig={self.kubeconfig()}", *arguments],
            input=None if document is None else json.dumps(document),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def apply(self, *documents: dict[str, Any]) -> None:
        self.kubectl("apply", "-f", "-", document={"apiVersion": "v1", "kind": "List", "items": list(documents)})

    def add_our_kinds(self) -> None:
        """Our CRDs, and whatever others were created: served when this returns."""
        self.kubectl("create", "-f", str(CRDS))
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=240s")

    def _ready(self) -> bool:
        try:
            answer = urllib3.PoolManager(ca_certs=str(self.ca), retries=False, timeout=2).request(
                "GET", f"{self.url}/readyz", headers={"Authorization": f"Bearer {ADMIN}"}
            )
        except urllib3.exceptions.HTTPError:
            return False
        return answer.status == 200

    def _run(self, program: str, *flags: str) -> ServerProcess:
        process = ServerProcess([str(PROGRAMS / program), *flags], self.folder / f"{program}.log")
        self._processes.append(process)
        return process
