"""What every custom resource has: apiVersion, kind, metadata, and the strictness of our models.

Base of TransferJob, DicomNode and DeidProfile; read from YAML by `adit.model.manifest_file`, written as CRDs by
`adit.model.crd`.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from adit.model.identifiers import Name

GROUP: Final = "adit.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"


class Rule(BaseModel):
    """One CEL rule of a CRD (`x-kubernetes-validations`) and the message users see."""

    model_config = ConfigDict(frozen=True)

    rule: str
    message: str
    field_path: str | None = None


def _write_rules(schema: dict[str, Any], model: type[Any]) -> None:
    """Adds a model's CEL rules to its JSON schema, in Kubernetes' words."""
    rules: tuple[Rule, ...] = model.rules
    if rules:
        schema["x-kubernetes-validations"] = [
            {"rule": rule.rule, "message": rule.message}
            | ({"fieldPath": rule.field_path} if rule.field_path is not None else {})
            for rule in rules
        ]


class Strict(BaseModel):
    """A part of a resource: immutable, camelCase outside, no unknown fields.

    `rules` are the CEL rules of this object in the CRD; each has a twin among the model's
    validators, and a test holds the two to the same verdicts.
    """

    model_config = ConfigDict(
        defer_build=True,  # most are parts of others, which are built with them; a worker uses few
        hide_input_in_errors=True,  # it may name a patient, and an error may end in a log
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        str_strip_whitespace=False,
        json_schema_extra=_write_rules,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()


SET: Final[dict[str, Any]] = {"x-kubernetes-list-type": "set"}
"""Marks a list in which no value stands twice; `once_each` is its twin for the models."""

Item = TypeVar("Item")


def once_each(values: tuple[Item, ...]) -> tuple[Item, ...]:
    """The values, if none stands twice. Raises ValueError naming the first that does."""
    seen: set[Item] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"must not hold a value twice ({value})")
        seen.add(value)
    return values


_Text = Annotated[str, StringConstraints(max_length=256 * 1024, pattern=r"^[^\x00]*$")]
_Key = Annotated[str, StringConstraints(max_length=317, pattern=r"^[^\x00]*$")]  # prefix of 253, slash, name of 63


class ObjectMeta(BaseModel):
    """The part of Kubernetes' ObjectMeta that we read; what else a server adds is not ours."""

    model_config = ConfigDict(
        defer_build=True,
        hide_input_in_errors=True,
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        populate_by_name=True,
    )

    name: Name
    namespace: Name = "default"
    uid: Annotated[str, StringConstraints(max_length=64, pattern=r"^[^\x00]*$")] | None = None
    generation: int | None = None
    labels: dict[_Key, _Text] = Field(default_factory=dict)
    annotations: dict[_Key, _Text] = Field(default_factory=dict)


class Resource(BaseModel):
    """One custom resource as it stands in a file or in the API server."""

    model_config = ConfigDict(
        defer_build=True,
        hide_input_in_errors=True,
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        json_schema_extra=_write_rules,
    )

    api_version: Literal["adit.dev/v1alpha1"] = "adit.dev/v1alpha1"
    metadata: ObjectMeta
    status: dict[str, Any] | None = Field(default=None, description="Written by the operator; ignored on input.")

    rules: ClassVar[tuple[Rule, ...]] = ()
    plural: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]]

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        return self.metadata.namespace, self.metadata.name
