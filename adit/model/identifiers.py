"""DICOM's and Kubernetes' identifiers as validated types, each with the rule it must meet.

Used by every resource model; the patterns also become the CRDs' schemas, so a wrong value is
refused with the same rule by `adit` and by the API server.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

UID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$"),
    Field(description="A DICOM UID (PS3.5 section 9.1)."),
]
# Real PACSs hold UIDs with leading zeros in a component; a selection must be able to name them.
StudyUID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$"),
    Field(description="A DICOM UID (PS3.5 section 9.1); leading zeros are tolerated."),
]
AETitle = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16, pattern=r"^[!-\[\]-~]([ -\[\]-~]*[!-\[\]-~])?$"),
    Field(description="An application entity title (PS3.5 VR AE): at most 16 characters."),
]
PatientID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[^\\*?\x00-\x1f\x7f]+$"),
    Field(description="A PatientID (VR LO), without wildcards, backslash or control characters."),
]
LongString = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f\x7f]+$"),
    Field(description="A text (VR LO): at most 64 characters, no backslash, no control characters."),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    Field(description="A Kubernetes object's name (RFC 1123 label)."),
]
Hostname = Annotated[
    str,
    StringConstraints(
        min_length=1,
        max_length=253,
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$",
    ),
    Field(description="A host name, IPv4 or IPv6 address."),
]

_QUANTITY: Final = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?$")
_FACTORS: Final = {
    None: 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def bytes_of(quantity: str | int) -> int:
    """The number that a Kubernetes quantity such as `50Mi` or `2G` stands for.

    Raises ValueError when it is not a positive quantity.
    """
    match = _QUANTITY.match(str(quantity))
    if match is None:
        raise ValueError("must be a number with an optional suffix k, M, G, T, Ki, Mi, Gi or Ti, such as 50Mi")
    number = int(float(match[1]) * _FACTORS[match[2]])
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _checked(value: str) -> str:
    bytes_of(value)
    return value


class _QuantitySchema:
    """Kubernetes writes quantities as `x-kubernetes-int-or-string`."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": _QUANTITY.pattern.replace("?:", ""),
            "maxLength": 20,
        }


Quantity = Annotated[
    str,
    BeforeValidator(_as_text),
    StringConstraints(max_length=20),
    AfterValidator(_checked),
    _QuantitySchema(),
    Field(description="A Kubernetes quantity, such as 50Mi."),
]
