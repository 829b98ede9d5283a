"""What `helm test` asks of a release: does it answer by its Services, and does the API server know our kinds?

Run by the chart's test pod with the facade's rights. Changes nothing: resources are only sent as a dry run.
"""

from __future__ import annotations

import argparse
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from typing import Any, Final

from kubernetes.client import CustomObjectsApi
from kubernetes.client.api_client import ApiClient
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_incluster_config

_SECONDS: Final = 60.0
_KIND: Final = {"group": "adit.dev", "version": "v1alpha1", "plural": "transferjobs"}


class Failed(Exception):  # noqa: N818
    """A check's answer was not what it must be."""


def answers(url: str, seconds: float = _SECONDS) -> str:
    """What it answers; a Service may take a moment before it does."""
    deadline = time.monotonic() + seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        try:
            with opener.open(url, timeout=10) as answer:
                return str(answer.status)
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise Failed(str(error)) from error
            time.sleep(0.5)


def takes_a_good_job(api: Any, namespace: str) -> str:
    """`api` is a CustomObjectsApi."""
    try:
        api.create_namespaced_custom_object(namespace=namespace, body=_job(), dry_run="All", **_KIND)
    except ApiException as error:
        raise Failed(f"{error.status} {error.reason}: {error.body}") from error
    return "accepted"


def refuses_a_bad_job(api: Any, namespace: str) -> str:
    body = _job()
    body["spec"]["parallelism"] = 0
    try:
        api.create_namespaced_custom_object(namespace=namespace, body=body, dry_run="All", **_KIND)
    except ApiException as error:
        if error.status == 422 and "spec.parallelism" in str(error.body):
            return "refused, and the field named"
        raise Failed(f"{error.status} {error.reason}: {error.body}") from error
    raise Failed("accepted: the CustomResourceDefinitions are not those of this version")


def _job() -> dict[str, Any]:
    return {
        "apiVersion": "adit.dev/v1alpha1",
        "kind": "TransferJob",
        "metadata": {"generateName": "release-test-"},
        "spec": {
            "source": {"node": "nowhere"},
            "destination": {"node": "elsewhere"},
            "selection": {"studies": [{"studyInstanceUID": "1.2.3"}]},
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="release_test", description=__doc__, allow_abbrev=False)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--api", required=True)
    parser.add_argument("--operator", required=True)
    given = parser.parse_args(arguments)

    load_incluster_config()
    resources = CustomObjectsApi(ApiClient())
    checks: dict[str, Callable[[], str]] = {
        "the facade is ready": lambda: answers(f"{given.api}/readyz"),
        "the operator is ready": lambda: answers(f"{given.operator}/readyz"),
        "the operator has metrics": lambda: answers(f"{given.operator}/metrics"),
        "a TransferJob can be created (dry run)": lambda: takes_a_good_job(resources, given.namespace),
        "a wrong TransferJob cannot (dry run)": lambda: refuses_a_bad_job(resources, given.namespace),
    }
    failures = 0
    for name, check in checks.items():
        try:
            print(f"ok    {name}: {check()}", flush=True)  # noqa: T201
        except Failed as failure:
            failures += 1
            print(f"FAIL  {name}: {failure}", flush=True)  # noqa: T201
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
