from __future__ import annotations

from pathlib import Path

import pytest

from adit.cli.console import CommandError
from adit.cli.settings import Settings, normal_url


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ADIT_DATABASE_URL", "ADIT_DATA", "ADIT_SECRETS", "ADIT_SPOOL", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_everything_lies_in_the_data_folder(tmp_path: Path) -> None:
    settings = Settings()
    assert settings.data == tmp_path / ".local/share/adit"
    assert settings.database_url is None
    assert settings.spool_folder == settings.data / "spool"
    assert settings.secrets_folder == settings.data / "secrets"


def test_the_environment_moves_things(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    assert Settings().data == Path("/xdg/adit")
    monkeypatch.setenv("ADIT_DATA", "/data")
    monkeypatch.setenv("ADIT_SPOOL", "/fast")
    monkeypatch.setenv("ADIT_SECRETS", "/secrets")
    settings = Settings()
    assert (settings.data, settings.spool_folder, settings.secrets_folder) == (
        Path("/data"),
        Path("/fast"),
        Path("/secrets"),
    )


@pytest.mark.parametrize("url", ["", "db", "mysql://adit:secret@db/adit", "postgresql://adit:secret@db:x/adit"])
def test_any_other_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(CommandError) as caught:
        normal_url(url)
    assert "ADIT_DATABASE_URL must be such as postgresql://" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_any_spelling_of_a_postgres_url_will_do(scheme: str) -> None:
    assert normal_url(f"{scheme}://adit@db/adit") == "postgresql+psycopg://adit@db/adit"
