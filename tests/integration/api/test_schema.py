"""schemathesis tries every operation of the OpenAPI document: what it says is what is done, and nothing is a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit_api.app import application
from adit_api.settings import Settings
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import NOW, Scene, node, transfer_job
from tests.postgres import DatabaseServer

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]
"""All but positive_data_acceptance: some rules (two different nodes, each study once) no JSON schema can say."""
EXAMPLES = 12


@pytest.fixture(scope="module")
def tried(database_server: DatabaseServer) -> Iterator[tuple[Facade, str]]:
    """One facade for all operations, with a job, its task and an attempt in its ledger."""
    name = database_server.database()
    source = engine(database_server.url(name))
    ledger = Ledger(source)
    for each in ("pacs", "research"):
        ledger.apply_node(node(each), NOW)
    scene = Scene(ledger, database_server.url(name, worker=True))
    scene.run(scene.apply(transfer_job("stroke-ct")).id)
    generous = "1000000/minute"
    with running(
        ledger, Settings(database_url=database_server.url(name), rate_limit=generous, wrong_token_rate_limit=generous)
    ) as facade:
        yield facade, facade.token("admin")
    source.dispose()
    database_server.drop(name)


def document() -> dict[str, object]:
    """Without the operations that wait for a stream or dial a node."""
    told = application().openapi()
    left_out = ("/progress", "/probe", "/find")
    return {**told, "paths": {path: each for path, each in told["paths"].items() if not path.endswith(left_out)}}


schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_what_the_document_says_is_done(case: Case[Any], tried: tuple[Facade, str]) -> None:
    facade, token = tried
    headers = {"Authorization": f"Bearer {token}"}
    case.call_and_validate(base_url=facade.url, headers=headers, checks=CHECKS)
