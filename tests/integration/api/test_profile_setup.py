"""The ready profiles that the chart makes: made, made again, and left alone where somebody decided otherwise."""

from __future__ import annotations

from typing import cast

import pytest

from adit.deid.policy import Policy
from adit.deid.profiles import names, ready
from adit.ledger.ledger import Ledger
from adit.model.deid_profile import DeidProfile
from adit_api.ledger_registry import LedgerRegistry
from adit_api.profile_setup import apply, profile
from adit_api.registry import Registry, RegistryRefused, RegistryUnavailable
from adit_api.services import utc_now
from tests.peers.helm import CHART, Helm, helm


class Late:
    """A cluster that serves the kind only after a while, or never."""

    def __init__(self, refusals: int, refusal: Exception) -> None:
        self.left = refusals
        self.refusal = refusal

    def apply(self, resource: DeidProfile) -> bool:
        self.left -= 1
        if self.left >= 0:
            raise self.refusal
        return True


@pytest.mark.parametrize("name", names())
def test_ready_profiles_can_be_used_and_get_the_sites_key(name: str) -> None:
    made = profile(name, "team-a", "stroke-key")
    assert made.key == ("team-a", name)
    assert made.spec.secrets == {"stroke-key": ("key",)}
    assert made.spec.options == ready(name).spec.options
    Policy(made)


def test_what_somebody_changed_stays(ledger: Ledger) -> None:
    registry = LedgerRegistry(ledger, utc_now)
    made = profile("basic", "default", "key")
    assert apply(registry, made).endswith("created")
    assert apply(registry, made).endswith("is there")
    kept = {"name": "research", "labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}
    theirs = DeidProfile.model_validate({"metadata": kept, "spec": {"key": {"secretName": "theirs"}}})
    ledger.apply_profile(theirs, utc_now())
    assert apply(registry, profile("research", "default", "key")).endswith("stays as it is")
    assert ledger.profile(("default", "research")) == theirs


def test_a_cluster_that_does_not_serve_the_kind_yet_is_waited_for() -> None:
    seconds = [0.0]

    def wait(pause: float) -> None:
        seconds[0] += pause

    made = profile("basic", "default", "key")
    for refusal in (RegistryRefused(404, "no such kind"), RegistryUnavailable()):
        late = cast(Registry, Late(3, refusal))
        assert apply(late, made, monotonic=lambda: seconds[0], wait=wait).endswith("created")
        with pytest.raises(type(refusal)):
            apply(cast(Registry, Late(1000, refusal)), made, monotonic=lambda: seconds[0], wait=wait)
    with pytest.raises(RegistryRefused):
        apply(cast(Registry, Late(1, RegistryRefused(403, "no right"))), made, wait=lambda _: pytest.fail("waited"))


def test_the_chart_knows_the_profiles_that_there_are() -> None:
    tool: Helm = helm()
    for name in names():
        tool.text({"deidProfiles": {"ready": [name], "keySecret": "key"}})
    assert (CHART / "values.schema.json").read_text().count('"upstream"') == 1
