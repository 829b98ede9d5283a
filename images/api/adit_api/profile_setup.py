"""Makes the ready DeidProfiles that the chart's values name. Run by a Job after the installation and each upgrade.

Helm cannot make resources of a kind that the same release brings, so they are made here. One that somebody else has
changed, or that is kept in git, stays as it is: no upgrade changes behind a site's back what leaves.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from adit.deid.profiles import names, ready
from adit.ledger.resources import ResourceConflict
from adit.model.deid_profile import DeidProfile, KeyReference
from adit.model.resource import ObjectMeta
from adit_api.cluster_registry import ClusterRegistry, login
from adit_api.registry import KeptInGit, Registry, RegistryRefused, RegistryUnavailable

_WAIT_SECONDS: Final = 120.0
_PAUSE_SECONDS: Final = 2.0


def profile(name: str, namespace: str, key_secret: str) -> DeidProfile:
    """The ready profile of that name, with the site's key."""
    found = ready(name)
    spec = found.spec.model_copy(update={"key": KeyReference(secret_name=key_secret)})
    return DeidProfile(metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)


def apply(
    registry: Registry,
    made: DeidProfile,
    *,
    monotonic: Callable[[], float] = time.monotonic,
    wait: Callable[[float], object] = time.sleep,
) -> str:
    """What became of it, in a line. A cluster that does not serve the kind yet is waited for; else it raises."""
    deadline = monotonic() + _WAIT_SECONDS
    told = f"deidprofile.adit.dev/{made.metadata.name} in {made.metadata.namespace}"
    while True:
        try:
            return f"{told} {'created' if registry.apply(made) else 'is there'}"
        except (KeptInGit, ResourceConflict):
            return f"{told} was changed by somebody else, and stays as it is"
        except (RegistryUnavailable, RegistryRefused) as error:
            not_yet = isinstance(error, RegistryUnavailable) or error.status == 404
            if not not_yet or monotonic() > deadline:
                raise
            wait(_PAUSE_SECONDS)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="profile_setup", description=__doc__, allow_abbrev=False)
    parser.add_argument("--namespace", required=True, action="append", help="where jobs may name them; may stand often")
    parser.add_argument("--key-secret", required=True, help="the Secret in each namespace with the project's key")
    parser.add_argument("profile", nargs="+", choices=names())
    given = parser.parse_args(arguments)

    registry = ClusterRegistry(login())
    for namespace in given.namespace:
        for name in given.profile:
            try:
                print(apply(registry, profile(name, namespace, given.key_secret)))  # noqa: T201
            except (RegistryUnavailable, RegistryRefused) as error:
                sys.exit(f"deidprofile.adit.dev/{name} in {namespace}: {error}")


if __name__ == "__main__":
    main()
