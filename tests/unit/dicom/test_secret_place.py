"""SecretMissing tells where a Secret was looked for: to whoever can put it there."""

from __future__ import annotations

from pathlib import Path

import pytest

from adit.dicom.secret_place import secret_place


def test_a_folder_that_is_missing_is_told_from_one_without_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    assert secret_place(tmp_path / "key") == f": there is no folder {tmp_path / 'key'}"
    (tmp_path / "key").mkdir()
    assert secret_place(tmp_path / "key") == f" in its folder {tmp_path / 'key'}"


def test_in_a_pod_no_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert secret_place(tmp_path / "key") == ""
