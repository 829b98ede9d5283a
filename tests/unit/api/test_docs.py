"""docs/api.md says what the facade does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema_rs

from adit.ledger.api_tokens import Scope
from adit_api import cursors
from adit_api.app import application
from adit_api.problems import TITLES, Problem
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


def test_every_problem_has_an_example_of_its_own_status_and_every_parameter_one_that_is_taken() -> None:
    document = application().openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            for status, answer in operation["responses"].items():
                for content in answer["content"].values() if status[0] in "45" else ():
                    problem = Problem.model_validate(content["example"])
                    assert problem.status == int(status), where
                    assert problem.title == TITLES[problem.type.rpartition(":")[2]], where
            for each in operation.get("parameters", ()):
                schema = {**each["schema"], "components": document["components"]}
                judge = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
                assert all(judge.is_valid(example) for example in each["schema"]["examples"]), where


def test_the_examples_of_cursors_are_cursors() -> None:
    operations = application().openapi()["paths"]
    read = {"transferjobs": cursors.job_of, "dicomnodes": cursors.resource_of, "deidprofiles": cursors.resource_of}
    for kind, cursor_of in read.items():
        assert cursor_of(_example(operations[f"/v1/{kind}"]["get"], "cursor"))
    tasks = operations["/v1/transferjobs/{namespace}/{name}/tasks"]["get"]
    assert cursors.task_of(_example(tasks, "cursor")) == 4711


def _example(operation: Any, parameter: str) -> str:
    [found] = [each for each in operation["parameters"] if each["name"] == parameter]
    return str(found["schema"]["examples"][0])
