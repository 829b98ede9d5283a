"""docs/api.md says what the facade does."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema_rs

from adit.ledger.api_tokens import Scope
from adit_api.app import application
from adit_api.problems import TITLES
from adit_api.settings import Settings

PAGE = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")


def test_every_kind_of_problem_has_a_cure() -> None:
    table = PAGE.split("<!-- problems -->")[1].split("<!-- /problems -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines() if "|" in line][2:]
    assert {row[0] for row in rows} == set(TITLES)
    assert all(re.fullmatch(r"\d{3}(, \d{3})*", row[1]) and row[2] for row in rows)


def test_every_setting_is_told() -> None:
    internal = {"listen_fd", "ends_with_parent", "kubernetes_service_host"}
    for name in set(Settings.model_fields) - internal:
        assert f"ADIT_{name.upper()}" in PAGE


def test_every_operation_names_its_scope_and_its_problems() -> None:
    scopes = {str(scope) for scope in Scope}
    assert scopes == {"read", "write", "find", "nodes", "admin"}
    for path, operations in application().openapi()["paths"].items():
        for operation in operations.values():
            assert operation["summary"]
            problems = {status for status in operation["responses"] if status[0] in "45"}
            assert "500" in problems
            assert all(
                list(operation["responses"][status]["content"]) == ["application/problem+json"] for status in problems
            )
            if path.startswith("/v1/"):
                assert operation["security"] == [{"token": []}]
                assert {"401", "403", "429", "503"} <= problems


def test_every_answer_has_an_example_that_its_schema_takes() -> None:
    document = application().openapi()
    shown = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, answer in operation["responses"].items():
                for content in answer.get("content", {}).values() if status.startswith("2") else ():
                    schema = {**content["schema"], "components": document["components"]}
                    judge = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
                    wrong = [each.message for each in judge.iter_errors(content["example"])]
                    assert content["example"]
                    assert wrong == [], f"{method} {path} {status}"
                    shown += 1
    assert shown > 25
