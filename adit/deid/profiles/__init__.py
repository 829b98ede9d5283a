"""Ready profiles, by name: what most sites need needs no YAML of their own. Read by `adit deid`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import yaml

from adit.model.deid_profile import DeidProfile

_FOLDER: Final = Path(__file__).parent

DEFAULT: Final = "research"


def names() -> list[str]:
    return sorted(file.stem for file in _FOLDER.glob("*.yaml"))


def ready(name: str) -> DeidProfile:
    """The profile of that name, one of `names()`."""
    return DeidProfile.model_validate(yaml.safe_load((_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")))
