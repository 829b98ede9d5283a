"""TransferJobs, DicomNodes and DeidProfiles from YAML text: all of its faults at once, or all of its resources.

Called by the command line before anything is created. Pure: the caller reads the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.guess import guess
from adit.model.problem_text import describe, is_echo
from adit.model.resource import API_VERSION
from adit.model.transfer_job import TransferJob
from adit.model.yaml_document import Document, Place, YamlFault, documents, field_path

Manifest = TransferJob | DicomNode | DeidProfile

_KINDS: Final[dict[str, type[TransferJob] | type[DicomNode] | type[DeidProfile]]] = {
    "TransferJob": TransferJob,
    "DicomNode": DicomNode,
    "DeidProfile": DeidProfile,
}
_ANY_KIND: Final = "TransferJob, DicomNode or DeidProfile"
_SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in one document: where, which field, which rule, which value."""

    source: str
    rule: str
    document: int | None = None  # counted from 1
    line: int | None = None  # counted from 1
    field: str = ""  # such as spec.selection.studies[3].studyInstanceUID
    value: str = ""  # shortened; empty where it might name a patient

    def __str__(self) -> str:
        line = f":{self.line}" if self.line is not None else ""
        document = f" (document {self.document})" if self.document is not None else ""
        field = f" {self.field}:" if self.field else ""
        value = f", not {self.value}" if self.value else ""
        return f"{self.source}{line}{document}:{field} {self.rule}{value}"


class ManifestErrors(ValueError):  # noqa: N818 - it carries all of them
    """Everything that is wrong with the files; nothing of them may be created."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        shown = [str(problem) for problem in self.problems[:_SHOWN]]
        if len(self.problems) > _SHOWN:
            shown.append(f"… and {len(self.problems) - _SHOWN} more")
        super().__init__("\n".join(shown))


def read(text: str, source: str) -> list[Manifest]:
    """The resources in one YAML text. Raises ManifestErrors with all that is wrong."""
    return read_all([(source, text)])


def read_all(texts: Iterable[tuple[str, str]]) -> list[Manifest]:
    """The resources in several texts, each given with its source's name.

    A resource may stand only once in all of them. Raises ManifestErrors with all that is wrong.
    """
    resources: list[Manifest] = []
    problems: list[Problem] = []
    first_places: dict[tuple[str, tuple[str, str]], str] = {}
    for source, text in texts:
        before = len(resources), len(problems)
        try:
            for document in documents(text):
                found = _resource(document, source)
                if isinstance(found, list):
                    problems.extend(found)
                    continue
                name = (found.kind, found.key)
                if name in first_places:
                    problems.append(
                        Problem(
                            source,
                            f"must stand only once, but is also in {first_places[name]}",
                            document.number,
                            document.line_of(("metadata", "name")),
                            "metadata.name",
                            f"{found.kind} {found.metadata.name}",
                        )
                    )
                    continue
                first_places[name] = f"{source} (document {document.number})"
                resources.append(found)
        except YamlFault as fault:
            problems.append(Problem(source, fault.rule, fault.document, fault.line))
        if (len(resources), len(problems)) == before:
            problems.append(Problem(source, f"must hold at least one {_ANY_KIND}, but is empty"))
    if problems:
        raise ManifestErrors(problems)
    return resources


def _resource(document: Document, source: str) -> Manifest | list[Problem]:
    def problem(place: Place, rule: str, value: str = "") -> Problem:
        return Problem(source, rule, document.number, document.line_of(place), field_path(place), value)

    found = [problem(fault.place, fault.rule) for fault in document.faults]
    value = document.value
    if not isinstance(value, dict):
        return [*found, problem((), "must be a mapping with apiVersion, kind, metadata and spec")]
    if value.get("apiVersion") != API_VERSION:
        found.append(problem(("apiVersion",), f"must be {API_VERSION}", _shown(value.get("apiVersion"))))
    kind = value.get("kind")
    model = _KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        rule = f"must be {_ANY_KIND}{guess(str(kind), _KINDS, 0.5)}"
        return [*found, problem(("kind",), rule, _shown(kind))]
    content = {key: each for key, each in value.items() if key not in ("status", "apiVersion")}
    try:
        # JSON, because strict there means what the API server means: "104" is no integer
        resource = model.model_validate_json(json.dumps(content), strict=True, by_alias=True, by_name=False)
    except ValidationError as errors:
        known = {fault.place for fault in document.faults}
        for error in errors.errors(include_url=False):
            place, rule, offending = describe(error, document, model)
            if place not in known and not is_echo(error):
                found.append(problem(place, rule, offending))
        return found
    return found or resource


def _shown(value: object) -> str:
    return "" if value is None else json.dumps(value)[:60]
