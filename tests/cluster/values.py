"""The values with which the tests install the chart: the rig's, or those for a cluster of the user's own.

Used by the installations of this folder. In somebody's cluster our images come from where ADIT_TEST_IMAGES and
ADIT_TEST_TAG say, and Postgres and Orthanc from where the chart takes them by itself.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import yaml

from tests.cluster.kubernetes import inside_the_rig

_OF_THE_RIG: Final = Path(__file__).parent / "values.yaml"


def values_elsewhere(registry: str, tag: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(_OF_THE_RIG.read_text())
    values["image"] = {"registry": registry, "tag": tag}
    if registry != "localhost":  # else all images were loaded into the node
        for name in ("postgres", "sandbox"):
            values[name].pop("image")
    return values


def _file() -> Path:
    if inside_the_rig() or "ADIT_TEST_IMAGES" not in os.environ:
        return _OF_THE_RIG
    descriptor, name = tempfile.mkstemp(suffix=".yaml", prefix="adit-values-")
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump(values_elsewhere(os.environ["ADIT_TEST_IMAGES"], os.environ.get("ADIT_TEST_TAG", "dev")), file)
    return Path(name)


VALUES: Final = _file()
