from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from adit.model.identifiers import (
    UID,
    AbsolutePath,
    AETitle,
    Hostname,
    LongString,
    Name,
    PatientID,
    Quantity,
    StudyUID,
    TimeOfDay,
    bytes_of,
)

CASES: list[tuple[Any, list[Any], list[Any]]] = [
    (UID, ["1.2.840.10008.1.2", "0", "1.0.2", "2" * 64], ["", "1.", ".1", "1..2", "1.02", "1.2\n", "1.a", "2" * 65]),
    (StudyUID, ["1.2.03", "1.2"], ["1.2.", "*", "1.2\\1.3", "1.2 "]),
    (
        AETitle,
        ["PACS_1", "A", "A B", "X" * 16, "~!", "A_B-C.D"],
        ["", " A", "A ", "X" * 17, "A\\B", "Ä", "A\n", "A\tB"],
    ),
    (PatientID, ["1003", "Müller-3", "a b", "x" * 64], ["", "*", "1?3", "a\\b", "a\nb", "x" * 65]),
    (LongString, ["STROKE-001", "was?", "日本"], ["", "a\\b", "a\x00", "x" * 65]),
    (Name, ["a", "a-1", "x" * 63], ["", "-a", "a-", "A", "a_b", "a.b", "x" * 64, "a\n"]),
    (Hostname, ["pacs", "pacs.example.org", "10.0.0.1", "::1", "fe80::1", "a_b"], ["", "a b", "-a", "a/b", "x" * 254]),
    (AbsolutePath, ["/", "/data/archive"], ["", "data", "/a\x00b", "/" + "x" * 1024]),
    (TimeOfDay, ["00:00", "23:59", "24:00"], ["24:01", "7:00", "07:60", "0700", "07:00:00"]),
    (
        Quantity,
        ["50Mi", "1", "1.5Gi", 7, "3T"],
        ["", "0", "0Mi", "-1", "50mi", "050Mi", "1e3", "9007199254740993", -1, 0],
    ),
]


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, good, _ in CASES for value in good])
def test_accepts(kind: Any, value: Any) -> None:
    assert TypeAdapter(kind).validate_python(value) == str(value)


@pytest.mark.parametrize(("kind", "value"), [(kind, value) for kind, _, bad in CASES for value in bad])
def test_refuses(kind: Any, value: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("quantity", "number"), [("1", 1), ("50Mi", 52428800), ("2G", 2 * 10**9), ("1.5Ki", 1536), (12, 12)]
)
def test_bytes_of(quantity: str | int, number: int) -> None:
    assert bytes_of(quantity) == number
