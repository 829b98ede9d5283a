"""Profiles as tests need them."""

from __future__ import annotations

from typing import Any

from adit.model.deid_profile import DeidProfile


def profile(*options: str, name: str = "research", **spec: Any) -> DeidProfile:
    return DeidProfile.model_validate(
        {
            "metadata": {"name": name},
            "spec": {"key": {"secretName": "research-key"}, "options": list(options), **spec},
        }
    )
