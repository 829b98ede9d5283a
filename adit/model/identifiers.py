"""DICOM's and Kubernetes' identifiers as validated types, each with the rule it must meet.

Used by every resource model; the patterns also become the CRDs' schemas, so a wrong value is
refused with the same rule by `adit` and by the API server.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

_UID: Final = r"^(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*))*$"
_TOLERANT_UID: Final = r"^[0-9]+(\.[0-9]+)*$"
_AE_TITLE: Final = r"^[!-\[\]-~]([ -\[\]-~]*[!-\[\]-~])?$"
_PATIENT_ID: Final = r"^[^\\*?\x00-\x1f\x7f]+$"
_LONG_STRING: Final = r"^[^\\\x00-\x1f\x7f]+$"
_NAME: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_HOSTNAME: Final = r"^([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*)$"
_PATH: Final = r"^/[^\x00]*$"
_WEB_URL: Final = (
    r"^https?://([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
    r"(/([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*)?$"
)
_URL_PREFIX: Final = r"^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$"
_HEADER_NAME: Final = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_TIME_OF_DAY: Final = r"^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"
_TIME_ZONE: Final = r"^[A-Za-z0-9_+/-]+$"
_BUCKET: Final = r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$"
_KEY_PREFIX: Final = r"^[A-Za-z0-9_][A-Za-z0-9_.=+@-]*(/[A-Za-z0-9_][A-Za-z0-9_.=+@-]*)*$"
_ENDPOINT: Final = r"^https?://([A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$"
_REGION: Final = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
_UUID: Final = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"

RULE_OF_PATTERN: Final = {
    _UID: "must be a DICOM UID: numbers joined by dots, none with a leading zero (PS3.5 section 9.1)",
    _TOLERANT_UID: "must be a DICOM UID: numbers joined by dots (PS3.5 section 9.1)",
    _AE_TITLE: "must be an AE title: ASCII without backslash, no space at either end (PS3.5 VR AE)",
    _PATIENT_ID: "must be a PatientID without wildcards, backslash or control characters (PS3.5 VR LO)",
    _LONG_STRING: "must be a text without backslash or control characters (PS3.5 VR LO)",
    _NAME: "must be a Kubernetes name: lower case letters, digits and '-', a letter or digit at both ends (RFC 1123)",
    _HOSTNAME: "must be a host name, an IPv4 or an IPv6 address",
    _PATH: "must be an absolute path, beginning with '/'",
    _WEB_URL: "must be a URL such as https://pacs.example.org/dicom-web, without user, query and fragment",
    _URL_PREFIX: "must be parts of a URL's path such as qido/v1, without '/' at either end",
    _HEADER_NAME: "must be the name of an HTTP header (RFC 9110 section 5.1)",
    _TIME_OF_DAY: "must be a time of day from 00:00 to 24:00, written HH:MM",
    _TIME_ZONE: "must be the name of an IANA time zone, such as Europe/Berlin",
    _BUCKET: "must be a bucket's name: 3 to 63 lower case letters, digits, '.' and '-'",
    _KEY_PREFIX: "must be parts joined by '/', none empty, of letters, digits and _.=+@-, none beginning with a dot",
    _ENDPOINT: "must be http:// or https://, a host and perhaps a port, and nothing else",
    _REGION: "must be a region's name: lower case letters, digits and '-'",
    _UUID: "must be a UUID in lower case, such as 0d9f0b6e-3c1c-4f0e-9a57-2f0c5f4f7a11",
}
"""What each pattern means to people; `adit.model.manifest_file` says it instead of the pattern."""

UID_AS_SENT: Final = re.compile(r"[0-9][0-9.]{0,63}")
"""What is taken for a UID in a peer's data, however its numbers are written: never `..`, as it also names files."""

UID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_UID),
    Field(description="A DICOM UID (PS3.5 section 9.1)."),
]
# Real PACSs hold UIDs with leading zeros in a component; a selection must be able to name them.
StudyUID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_TOLERANT_UID),
    Field(description="A DICOM UID (PS3.5 section 9.1); leading zeros are tolerated."),
]
AETitle = Annotated[
    str,
    StringConstraints(min_length=1, max_length=16, pattern=_AE_TITLE),
    Field(description="An application entity title (PS3.5 VR AE): at most 16 characters."),
]
PatientID = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_PATIENT_ID),
    Field(description="A PatientID (VR LO), without wildcards, backslash or control characters."),
]
LongString = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_LONG_STRING),
    Field(description="A text (VR LO): at most 64 characters, no backslash, no control characters."),
]
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=_NAME),
    Field(description="A Kubernetes object's name (RFC 1123 label)."),
]
Hostname = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=_HOSTNAME),
    Field(description="A host name, IPv4 or IPv6 address."),
]
AbsolutePath = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=_PATH),
    Field(description="An absolute path."),
]
WebUrl = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1024, pattern=_WEB_URL),
    Field(description="An http or https URL: no user or password, no query, no fragment."),
]
UrlPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=_URL_PREFIX),
    Field(description="Parts of a URL's path."),
]
HeaderName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_HEADER_NAME),
    Field(description="The name of an HTTP header."),
]
TimeOfDay = Annotated[
    str,
    StringConstraints(max_length=5, pattern=_TIME_OF_DAY),
    Field(description="A time of day from 00:00 to 24:00."),
]
TimeZoneName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_TIME_ZONE),
    Field(description="The name of an IANA time zone."),
]
BucketName = Annotated[
    str,
    StringConstraints(min_length=3, max_length=63, pattern=_BUCKET),
    Field(description="The name of an S3 bucket."),
]
KeyPrefix = Annotated[
    str,
    StringConstraints(min_length=1, max_length=256, pattern=_KEY_PREFIX),
    Field(description="The beginning of an object's key."),
]
Endpoint = Annotated[
    str,
    StringConstraints(min_length=8, max_length=300, pattern=_ENDPOINT),
    Field(description="A server's address without path, user or query."),
]
Region = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=_REGION),
    Field(description="The name of an S3 region."),
]
Identity = Annotated[
    str,
    StringConstraints(min_length=36, max_length=36, pattern=_UUID),
    Field(description="A UUID (RFC 9562), in lower case."),
]

_QUANTITY: Final = re.compile(r"^([1-9][0-9]*(\.[0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?$")
_MOST: Final = 2**53  # the largest whole number that every JSON reader keeps exactly
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

    Raises ValueError when it is not a quantity from 1 to 2^53.
    """
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise ValueError(
            "must be a number without leading zeros and an optional suffix k, M, G, T, Ki, Mi, Gi or Ti, such as 50Mi"
        )
    number = int(Decimal(match[1]) * _FACTORS[match[3]])
    if number > _MOST:
        raise ValueError("must be at most 2^53 bytes")
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
            "pattern": _QUANTITY.pattern,
            "minimum": 1,
            "maximum": _MOST,
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
