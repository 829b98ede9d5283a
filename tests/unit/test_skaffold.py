"""skaffold.yaml names what is there: Skaffold itself is in no package registry that the tests could take it from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


def _read(path: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))
    return read


def test_each_image_is_built_and_deployed() -> None:
    skaffold = _read("skaffold.yaml")
    built = {artifact["image"]: artifact["docker"]["dockerfile"] for artifact in skaffold["build"]["artifacts"]}
    assert set(built) == {"adit-worker", "adit-operator", "adit-api", "adit-receiver"}
    for image, dockerfile in built.items():
        text = (ROOT / dockerfile).read_text(encoding="utf-8")
        assert f"-f {dockerfile} -t {image} " in text
        assert text.count("USER 10001:10001") == 1
    (release,) = skaffold["deploy"]["helm"]["releases"]
    wanted = {
        f"{part}.image.{key}": f"{{{{.IMAGE_{variable}_adit_{part}}}}}"
        for part in ("worker", "operator", "api", "receiver")
        for key, variable in (("repository", "REPO"), ("tag", "TAG"))
    }
    assert release["setValueTemplates"] == wanted


def test_each_value_is_one_of_the_chart() -> None:
    skaffold = _read("skaffold.yaml")
    (release,) = skaffold["deploy"]["helm"]["releases"]
    values = _read(f"{release['chartPath']}/values.yaml")
    patches = [patch["value"] for profile in skaffold["profiles"] for patch in profile["patches"]]
    for path in (key for given in (release["setValueTemplates"], *patches) for key in given):
        found: Any = values
        for part in path.split("."):
            assert part in found, path
            found = found[part]
