"""The real helm, both major versions that people use. scripts/fetch-helm puts them where they are looked for."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "charts" / "adit"
_CACHES: Final = (
    Path(os.environ.get("ADIT_CLUSTER_CACHE", "/var/cache/adit-cluster")) / "bin",
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "adit" / "bin",
)

Document = dict[str, Any]


class ChartRefused(Exception):  # noqa: N818
    """Helm would not render the chart with these values; the message is Helm's."""


@dataclass(frozen=True)
class Helm:
    """One version of helm."""

    program: Path

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Helm's own --timeout comes first where it waits for a cluster."""
        return subprocess.run(
            [str(self.program), *arguments], input=stdin, capture_output=True, text=True, timeout=900, check=False
        )

    def text(
        self,
        values: Mapping[str, Any] | None = None,
        *,
        release: str = "adit",
        namespace: str = "adit",
        arguments: Sequence[str] = (),
    ) -> str:
        """What `helm template` writes. Raises ChartRefused."""
        done = self.run(
            "template",
            release,
            str(CHART),
            f"--namespace={namespace}",
            "--values=-",
            *arguments,
            stdin=yaml.safe_dump(dict(values or {})),
        )
        if done.returncode != 0:
            raise ChartRefused(done.stderr)
        return done.stdout

    def render(self, values: Mapping[str, Any] | None = None, **how: Any) -> list[Document]:
        """The same as documents."""
        return [each for each in yaml.load_all(self.text(values, **how), yaml.CSafeLoader) if each]


def helm(name: str = "helm") -> Helm:
    """`helm` is Helm 4, `helm3` is Helm 3."""
    for folder in _CACHES:
        if os.access(folder / name, os.X_OK):
            return Helm(folder / name)
    raise FileNotFoundError(f"There is no {name} in {' or '.join(map(str, _CACHES))}; run: scripts/fetch-helm")
