"""DeidProfiles: list, show, apply. Who may apply them decides what leaves of a patient: the scope of nodes."""

from __future__ import annotations

from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Response
from pydantic import Field

from adit.ledger.api_tokens import Scope
from adit.model.deid_profile import DeidProfile, DeidProfileSpec
from adit.model.resource import ObjectMeta, Strict
from adit_api import cursors
from adit_api.bodies import body_of, described
from adit_api.callers import Caller, check_namespace, needs, visible
from adit_api.job_view import View
from adit_api.problems import ProblemError, Violation, not_found
from adit_api.routes.paths import BODY, Limit, Namespace, OfNamespace, ProfileName, ResourceCursor, problems
from adit_api.services import Here

router: Final = APIRouter(prefix="/v1/deidprofiles", tags=["DeidProfiles"])
_log = structlog.get_logger(__name__)

_RESEARCH: Final[dict[str, Any]] = {
    "spec": {
        "project": "stroke",
        "key": {"secretName": "stroke-key"},
        "options": ["RetainPatientCharacteristics", "RetainLongitudinalModifiedDates", "CleanDescriptors"],
        "overrides": [{"keyword": "PatientWeight", "action": "Keep"}],
        "excludedModalities": ["PR", "SR"],
    }
}


class NewDeidProfile(Strict):
    """A DeidProfile's content, as in YAML; its name stands in the path."""

    spec: DeidProfileSpec


class ProfileView(View):
    """A DeidProfile. It names the Secret of its key, which is told to nobody."""

    namespace: str
    name: str
    spec: dict[str, Any] = Field(description="As in YAML, with defaults filled in.")

    @staticmethod
    def of(profile: DeidProfile) -> ProfileView:
        namespace, name = profile.key
        spec = profile.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
        return ProfileView(namespace=namespace, name=name, spec=spec)


class ProfileList(View):
    """A page of DeidProfiles, by namespace and name."""

    items: tuple[ProfileView, ...]
    next: str | None = Field(default=None, description="The next page's `cursor`.")


@router.get("", summary="List DeidProfiles", dependencies=[needs(Scope.READ)], responses=problems())
def list_profiles(
    here: Here,
    caller: Caller,
    namespace: OfNamespace = None,
    limit: Limit = 100,
    cursor: ResourceCursor = None,
) -> ProfileList:
    """As the ledger knows them; one that was just applied in a cluster may be missing for a second."""
    after = cursors.resource_of(cursor)
    namespaces = visible(here, caller)
    if namespace is not None:
        check_namespace(here, caller, namespace)
        namespaces = frozenset({namespace})
    profiles = sorted(here.ledger.profiles(), key=lambda profile: profile.key)
    found = [each for each in profiles if each.key > after and (namespaces is None or each.key[0] in namespaces)]
    following = cursors.of_resource(found[limit - 1].key) if len(found) > limit else None
    return ProfileList(items=tuple(ProfileView.of(each) for each in found[:limit]), next=following)


@router.get(
    "/{namespace}/{name}", summary="Show a DeidProfile", dependencies=[needs(Scope.READ)], responses=problems(404)
)
def show(here: Here, namespace: Namespace, name: ProfileName) -> ProfileView:
    key = (namespace, name)
    profile = here.ledger.profile(key) or here.registry.find_profile(key)
    if profile is None:
        raise not_found("DeidProfile in that namespace")
    return ProfileView.of(profile)


@router.put(
    "/{namespace}/{name}",
    summary="Create or replace a DeidProfile",
    dependencies=[needs(Scope.NODES)],
    responses={201: {"description": "It is new.", "model": ProfileView}, **problems(*BODY, 404, 409)},
    openapi_extra=described(
        NewDeidProfile, basic={"spec": {"key": {"secretName": "deid-key"}}}, for_research=_RESEARCH
    ),
)
def apply(
    here: Here,
    namespace: Namespace,
    name: ProfileName,
    response: Response,
    given: Annotated[NewDeidProfile, body_of(NewDeidProfile)],
) -> ProfileView:
    """Jobs that have their tasks keep the profile as it was."""
    profile = DeidProfile(metadata=ObjectMeta(name=name, namespace=namespace), spec=given.spec)
    _check(profile)
    if here.registry.apply(profile):
        response.status_code = 201
    _log.info("profile applied", namespace=namespace, name=name)
    return ProfileView.of(profile)


def _check(profile: DeidProfile) -> None:
    """What only the standard's table and the dictionary know. Raises ProblemError."""
    from adit.deid.policy import Policy, ProfileError  # with the standard's tables

    try:
        Policy(profile)
    except ProfileError as error:
        rule = "must select an attribute that PS3.6 knows and that may be overridden; private ones by privateCreator"
        raise ProblemError(
            422, "invalid", "The body breaks the rules in `errors`.", errors=[Violation(field=error.field, rule=rule)]
        ) from None
