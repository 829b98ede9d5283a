"""schemathesis tries every operation of the OpenAPI document: what it says is what is done, and nothing is a 500.

Its pytest plugin is off (`pyproject.toml`): it would make all of an operation's cases, ten seconds' work, in each of
xdist's processes. Here the process that runs an operation makes that one's, and only then is schemathesis imported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from adit.ledger.connection import engine
from adit.ledger.ledger import Ledger
from adit_api.app import application
from adit_api.settings import Settings
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import NOW, Scene, node, transfer_job
from tests.postgres import DatabaseServer
from tests.sample import Sample

if TYPE_CHECKING:
    from schemathesis import Case

MOST = 40
"""Of the cases that a document's schema leads to; of a body with many fields there are up to 1,500."""
SETTINGS = settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


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


def document() -> dict[str, Any]:
    """Without the operations that wait for a stream or dial a node."""
    told = application().openapi()
    left_out = ("/progress", "/probe", "/find")
    return {**told, "paths": {path: each for path, each in told["paths"].items() if not path.endswith(left_out)}}


OPERATIONS = [(method, path) for path, operations in document()["paths"].items() for method in operations]


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=[f"{method} {path}" for method, path in OPERATIONS])
def test_what_the_document_says_is_done(method: str, path: str, tried: tuple[Facade, str], sample: Sample) -> None:
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation.hypothesis.builder import HypothesisTestConfig, HypothesisTestMode, create_test
    from schemathesis.specs.openapi import checks

    facade, token = tried
    headers = {"Authorization": f"Bearer {token}"}
    # All but positive_data_acceptance: some rules (two different nodes, each study once) no JSON schema can say.
    judged = [
        not_a_server_error,
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
        checks.ignored_auth,
        checks.unsupported_method,
    ]
    tries = 0

    def answers_as_told(case: Case[Any]) -> None:
        nonlocal tries
        tries += 1
        case.call_and_validate(base_url=facade.url, headers=headers, checks=judged, timeout=90)

    schema = schemathesis.openapi.from_dict(document())
    wanted = HypothesisTestConfig(project=schema.config, modes=list(HypothesisTestMode), explicit_settings=SETTINGS)
    trial: Any = create_test(operation=schema[path][method], test_func=answers_as_told, config=wanted)
    trial.hypothesis_explicit_examples = sample(trial.hypothesis_explicit_examples, MOST)
    trial()
    assert tries > 1
