"""A real S3 server: SeaweedFS, with buckets, users, and what lies in it looked into by a client of the test's own.

Started once a session, because it takes some seconds; each test takes a bucket of its own.
"""

from __future__ import annotations

import json
import shutil
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import uuid4

from tests.peers.server_process import ServerProcess, free_port, listens

PROGRAM: Final = Path(sysconfig.get_path("scripts")) / "weed"


@dataclass(frozen=True)
class User:
    """An access key and its secret."""

    name: str
    access_key_id: str
    secret_access_key: str

    def write(self, folder: Path) -> None:
        """As the Secret that a DicomNode names: one file a key."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "AWS_ACCESS_KEY_ID").write_text(self.access_key_id)
        (folder / "AWS_SECRET_ACCESS_KEY").write_text(f"{self.secret_access_key}\n")


OWNER: Final = User("owner", "OWNEROFTHETEST", "the-owners-secret")
READER: Final = User("reader", "READEROFTHETEST", "the-readers-secret")
"""May read and list, and write nothing."""


_SETTINGS: Final = {
    "WEED_S3_SSE_KEY": "of the test",  # it encrypts only where it has been given a key
    "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # volumes that a bucket's first object makes
}


class SeaweedFS:
    """Listens on the loopback, or another address; with `tls`, a folder with `tls.crt` and `tls.key`, by TLS."""

    def __init__(self, tmp: Path, *, tls: Path | None = None, host: str = "127.0.0.1") -> None:
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix="seaweedfs-", dir=tmp))
        self.port = free_port()
        self._tls = tls
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{self.host}:{self.port}"

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None, "this SeaweedFS is not started"
        return self._process

    # --- life ---

    def start(self) -> None:
        users = self.folder / "s3.json"
        users.write_text(json.dumps({"identities": [_identity(OWNER, "Admin"), _identity(READER, "Read", "List")]}))
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        log = self.folder / "seaweedfs.log"
        self._process = ServerProcess(self._command(users, data), log, {"TMPDIR": str(self.folder), **_SETTINGS})
        self._process.wait_until(lambda: listens(self.port, self.host) and self._serves(), 60)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # --- what it holds ---

    def client(self, user: User = OWNER) -> Any:
        """A plain boto3 client."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=user.access_key_id,
            aws_secret_access_key=user.secret_access_key,
            verify=False if self._tls is None else str(self._tls / "ca.crt"),
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def bucket(self) -> Bucket:
        """A fresh one."""
        name = f"test-{uuid4().hex[:12]}"
        client = self.client()
        client.create_bucket(Bucket=name)
        return Bucket(name, client)

    def _serves(self) -> bool:
        """Whether a first object was taken: the server makes its volumes only then."""
        from botocore.exceptions import BotoCoreError, ClientError

        client = self.client()
        try:
            client.create_bucket(Bucket="warm-up")
            client.put_object(Bucket="warm-up", Key="first", Body=b"warm")
        except (BotoCoreError, ClientError):
            return False
        finally:
            client.close()
        return True

    def _command(self, users: Path, data: Path) -> list[str]:
        ports = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc")
        return [
            str(PROGRAM),
            f"-logdir={self.folder}",
            "server",
            f"-ip={self.host}",
            f"-ip.bind={self.host}",
            f"-dir={data}",
            "-volume.max=1000",
            "-master.volumeSizeLimitMB=256",
            "-volume.preStopSeconds=0",
            *(f"-{name}={free_port()}" for name in (*ports, "s3.port.grpc")),
            "-filer",
            "-s3",
            f"-s3.port={self.port}",
            "-s3.autoCreateBucket=false",
            f"-s3.config={users}",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            *([] if self._tls is None else [f"-s3.cert.file={self._tls / 'tls.crt'}"]),
            *([] if self._tls is None else [f"-s3.key.file={self._tls / 'tls.key'}"]),
        ]


@dataclass(frozen=True)
class Bucket:
    """A bucket, looked into past the code under test."""

    name: str
    client: Any

    def holds(self) -> set[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {item["Key"] for page in pages for item in page.get("Contents", ())}

    def put(self, key: str, content: bytes, **more: Any) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=content, **more)

    def get(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def head(self, key: str) -> dict[str, Any]:
        return dict(self.client.head_object(Bucket=self.name, Key=key, ChecksumMode="ENABLED"))

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)

    def uploads(self) -> list[str]:
        """The keys of multipart uploads that are neither completed nor aborted."""
        return [item["Key"] for item in self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", ())]

    def remove(self) -> None:
        """Bucket and all."""
        for key in self.holds():
            self.delete(key)
        self.client.delete_bucket(Bucket=self.name)


def _identity(user: User, *actions: str) -> dict[str, Any]:
    keys = {"accessKey": user.access_key_id, "secretKey": user.secret_access_key}
    return {"name": user.name, "credentials": [keys], "actions": list(actions)}
