"""`adit token`: made once, shown never again, revoked for good."""

from __future__ import annotations

from datetime import UTC, datetime

from adit.cli.token import Scope
from adit.ledger import api_tokens
from adit.ledger.ledger import Ledger
from tests.integration.cli.command import Adit


def test_a_token_is_printed_once_and_listed_without_it(adit: Adit, ledger: Ledger) -> None:
    made = adit("token", "create", "portal", "-s", "read", "-s", "write", "-n", "lab", "--days", "30")
    token = made.out.strip()
    assert made.code == 0, made.err
    assert token not in made.err
    found = ledger.token(token, datetime.now(UTC))
    assert found is not None
    assert (found.scopes, found.namespaces) == (frozenset({"read", "write"}), frozenset({"lab"}))
    assert (found.expires_at - found.created_at).days == 30
    listed = adit("token", "list", "-o", "json")
    assert [(each["name"], each["state"]) for each in listed.json] == [("portal", "good")]
    assert token not in listed.out + adit("token", "list").out
    assert adit("token", "create", "portal", "-s", "read").code == 2


def test_a_revoked_token_is_good_for_nothing(adit: Adit, ledger: Ledger) -> None:
    token = adit("token", "create", "portal", "-s", "admin").out.strip()
    assert adit("token", "revoke", "portal").out == "token portal revoked\n"
    assert ledger.token(token, datetime.now(UTC)) is None
    assert "revoked" in adit("token", "list").out
    unknown = adit("token", "revoke", "nobody")
    assert unknown.code == 2
    assert "There is no token nobody (there are: portal)." in unknown.err


def test_what_cannot_be_is_refused(adit: Adit, ledger: Ledger) -> None:
    for wrong in (["A", "-s", "read"], ["a", "-s", "read", "-n", "B b"], ["a", "-s", "all"], ["a"]):
        assert adit("token", "create", *wrong).code == 2
    assert ledger.tokens() == []


def test_the_scopes_of_the_command_are_the_ledgers() -> None:
    assert {str(scope) for scope in Scope} == {str(scope) for scope in api_tokens.Scope}
