"""A real S3 server for the whole session, a bucket and a proxy for each test, and nodes that use them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from adit.dicom.folder import JobFolder
from adit.dicom.payload import Spool
from adit.dicom.s3 import S3Node
from adit.model.assignment import Share
from adit.model.s3 import S3
from tests.peers.bucket_proxy import BucketProxy
from tests.peers.seaweedfs import OWNER, READER, Bucket, SeaweedFS, User

JOB = JobFolder("stroke", date(2026, 11, 22), "jane")
JOB_KEY = "adit_stroke_20261122_jane"

OpenNode = Callable[..., S3Node]


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with SeaweedFS(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> Iterator[Bucket]:
    bucket = seaweedfs.bucket()
    yield bucket
    bucket.client.close()


@pytest.fixture
def proxy(seaweedfs: SeaweedFS) -> Iterator[BucketProxy]:
    with BucketProxy(seaweedfs.port) as proxy:
        yield proxy


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """The Secrets of the server's users, and of one that it does not know."""
    folder = tmp_path / "secrets"
    for user in (OWNER, READER, User("stranger", "STRANGER", "of-the-test"), User("forger", OWNER.access_key_id, "no")):
        user.write(folder / user.name)
    return folder


@pytest.fixture
def open_node(bucket: Bucket, proxy: BucketProxy, secrets: Path, tmp_path: Path) -> OpenNode:
    """A node as a fresh process would open it, behind the proxy; `spec` changes its fields."""
    spool = tmp_path / "spool"
    spool.mkdir()

    def open_it(user: str = "owner", *, share: Share = Share(associations=2), **spec: Any) -> S3Node:  # noqa: B008
        given = {
            "bucket": bucket.name,
            "endpoint": proxy.url,
            "credentials": {"secretName": user},
            "timeouts": {"connectSeconds": 2, "networkSeconds": 5},
            **spec,
        }
        return S3Node("lake", S3.model_validate(given), share, secrets=secrets, spool=Spool(spool), job=JOB)

    return open_it
