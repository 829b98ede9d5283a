"""The CustomResourceDefinitions, made from the models so that neither can drift from the other.

Called by `adit crds`. Structural schemas: pydantic's JSON schema with every reference inlined,
optional instead of nullable, no unknown fields (the API server prunes or refuses them), and the
models' CEL rules at their objects.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final

import yaml
from pydantic import BaseModel

from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.resource import GROUP, VERSION, Resource
from adit.model.status import UNSEEN, DeidProfileStatus, DicomNodeStatus, TransferJobStatus
from adit.model.transfer_job import TransferJob

Schema = dict[str, Any]

CATEGORY: Final = "dicom"
_FIRST: Final = {"description": 0, "type": 1, "default": 2}  # the order in which people read a field

_STATUS: Final[dict[type[Resource], type[BaseModel]]] = {
    TransferJob: TransferJobStatus,
    DicomNode: DicomNodeStatus,
    DeidProfile: DeidProfileStatus,
}

_COLUMNS: Final[dict[type[Resource], list[dict[str, Any]]]] = {
    TransferJob: [
        {"name": "Destination", "type": "string", "jsonPath": ".spec.destination.node"},
        {"name": "Progress", "type": "string", "jsonPath": ".status.progress"},
        {"name": "Failed", "type": "integer", "jsonPath": ".status.counts.failed"},
        {"name": "Status", "type": "string", "jsonPath": ".status.state"},
        # the word that Complete shares with Failed: why it waits, that it runs, how it ended
        {"name": "Reason", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Complete")].reason'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Source", "type": "string", "jsonPath": ".spec.source.node", "priority": 1},
        {"name": "Active", "type": "integer", "jsonPath": ".status.counts.active", "priority": 1},
        {"name": "Warned", "type": "integer", "jsonPath": ".status.counts.warned", "priority": 1},
        {"name": "Left-Out", "type": "integer", "jsonPath": ".status.instances.leftOut", "priority": 1},
        {"name": "Bytes", "type": "integer", "jsonPath": ".status.instances.bytes", "priority": 1},
        {"name": "Bytes/s", "type": "integer", "jsonPath": ".status.bytesPerSecond", "priority": 1},
        {"name": "Profile", "type": "string", "jsonPath": ".spec.deidentification.profile", "priority": 1},
        {"name": "Ended", "type": "date", "jsonPath": ".status.completionTime", "priority": 1},
    ],
    DicomNode: [
        {"name": "AE-Title", "type": "string", "jsonPath": ".spec.dimse.aeTitle"},
        {"name": "Host", "type": "string", "jsonPath": ".spec.dimse.host"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Port", "type": "integer", "jsonPath": ".spec.dimse.port", "priority": 1},
        {"name": "URL", "type": "string", "jsonPath": ".spec.dicomWeb.url", "priority": 1},
        {"name": "Folder", "type": "string", "jsonPath": ".spec.folder.path", "priority": 1},
        {"name": "Bucket", "type": "string", "jsonPath": ".spec.s3.bucket", "priority": 1},
        {"name": "Active", "type": "integer", "jsonPath": ".status.activeTasks", "priority": 1},
        {"name": "Probed", "type": "date", "jsonPath": ".status.lastProbeTime", "priority": 1},
    ],
    DeidProfile: [
        {"name": "Project", "type": "string", "jsonPath": ".spec.project"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Keeps", "type": "string", "jsonPath": ".status.keeps"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Key", "type": "string", "jsonPath": ".spec.key.secretName", "priority": 1},
        {"name": "Options", "type": "string", "jsonPath": ".spec.options", "priority": 1},
    ],
}

_SELECTABLE: Final[dict[type[Resource], list[dict[str, str]]]] = {
    TransferJob: [{"jsonPath": ".spec.source.node"}, {"jsonPath": ".spec.destination.node"}],
    DicomNode: [],
    DeidProfile: [],
}


def crds() -> dict[str, dict[str, Any]]:
    """Every CRD by the name of its file."""
    return {f"{kind.plural}.{GROUP}.yaml": crd(kind) for kind in (DeidProfile, DicomNode, TransferJob)}


def crd(kind: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind (apiextensions.k8s.io/v1)."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(kind)},
        "subresources": {"status": {}},
        "additionalPrinterColumns": _COLUMNS[kind],
    }
    if _SELECTABLE[kind]:
        version["selectableFields"] = _SELECTABLE[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.__name__,
                "listKind": f"{kind.__name__}List",
                "plural": kind.plural,
                "singular": kind.__name__.lower(),
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def text_of(crd: dict[str, Any]) -> str:
    """The CRD as the YAML text of its file; always the same text for the same models."""
    head = "# Made by `adit crds`; do not edit.\n"
    return head + yaml.safe_dump(crd, sort_keys=False, width=120, allow_unicode=True)


def _root(kind: type[Resource]) -> Schema:
    generated = structural(kind)
    name = generated["properties"]["metadata"]["properties"]["name"]
    status = structural(_STATUS[kind])
    status["default"] = {"observedGeneration": UNSEEN}
    root: Schema = {
        "type": "object",
        "description": generated["description"],
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "maxLength": 64},
            "kind": {"type": "string", "maxLength": 64},
            # the API server knows ObjectMeta; a CRD may restrict no more of it than the name
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": generated["properties"]["spec"],
            "status": status,
        },
    }
    if "x-kubernetes-validations" in generated:
        root["x-kubernetes-validations"] = generated["x-kubernetes-validations"]
    return root


def structural(model: type[BaseModel]) -> Schema:
    """A model's JSON schema in the form that Kubernetes asks of a CRD."""
    schema = model.model_json_schema(by_alias=True)
    return _structural(schema, schema.get("$defs", {}))


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = _inlined(schema, definitions)
    result: Schema = {}
    for key in sorted(schema, key=lambda key: _FIRST.get(key, len(_FIRST))):
        value = schema[key]
        if key in ("title", "$defs", "additionalProperties"):
            continue  # Kubernetes prunes unknown fields wherever it isn't told otherwise
        if key == "description":
            result[key] = " ".join(str(value).split())
        elif key == "default":
            result |= _default(value)
        elif key == "const":
            result["enum"] = [value]
        elif key == "properties":
            result[key] = {name: _structural(each, definitions) for name, each in value.items()}
        elif key == "items":
            result[key] = _structural(value, definitions)
        else:
            result[key] = deepcopy(value)
    if result.get("type") == "integer":
        result["format"] = "int32" if "maximum" in result and result["maximum"] < 2**31 else "int64"
    return result


def _default(value: Any) -> Schema:
    """The default, unless it is the same as absent."""
    if isinstance(value, dict):
        value = {key: each for key, each in value.items() if each is not None}
    return {} if value in (None, [], "") else {"default": deepcopy(value)}


def _inlined(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema with its own `$ref` and `anyOf … null` resolved; what stands beside them wins."""
    while "$ref" in schema or _is_optional(schema):
        if "$ref" in schema:
            target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        else:
            target = next(each for each in schema["anyOf"] if each != {"type": "null"})
        beside = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        schema = {**target, **beside}
    return schema


def _is_optional(schema: Schema) -> bool:
    return "anyOf" in schema and {"type": "null"} in schema["anyOf"]
