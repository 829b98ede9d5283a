"""PS3.6's attributes and UIDs, and known private attributes, from pydicom's tables. Asked by the engine's parts.

Only the tables are loaded, from the files that hold them: the package around them takes twenty times as long to import,
which each worker that de-identifies would pay. A test holds this to what pydicom itself answers.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_VR, _KEYWORD = 0, 4  # places in an entry
_ROOT: Final = "1.2.840.10008."


def _table(name: str) -> ModuleType:
    """The module `pydicom.<name>`, which needs nothing else of the package."""
    loaded = sys.modules.get(f"pydicom.{name}")
    if loaded is not None:
        return loaded
    package = find_spec("pydicom")
    assert package is not None  # noqa: S101 - it is one of our requirements
    assert package.origin is not None  # noqa: S101
    spec = spec_from_file_location(f"adit_pydicom{name}", Path(package.origin).with_name(f"{name}.py"))
    assert spec is not None  # noqa: S101
    assert spec.loader is not None  # noqa: S101
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_ATTRIBUTES: Final[dict[int, tuple[str, ...]]] = _table("_dicom_dict").DicomDictionary


def is_known(tag: int) -> bool:
    """Whether PS3.6 has this very tag; groups that repeat, such as 60xx, don't count."""
    return tag in _ATTRIBUTES


def vr_of(tag: int) -> str:
    """Of a known one; two with ` or ` between where it depends. Raises KeyError."""
    return _ATTRIBUTES[tag][_VR]


def keyword_of(tag: int) -> str:
    """Of a known one. Raises KeyError."""
    return _ATTRIBUTES[tag][_KEYWORD]


def tag_of(keyword: str) -> int | None:
    return _tags().get(keyword)


def keywords() -> Collection[str]:
    return _tags().keys()


@cache
def _tags() -> dict[str, int]:
    return {entry[_KEYWORD]: tag for tag, entry in _ATTRIBUTES.items()}


def private_vr_of(tag: int, creator: str) -> str | None:
    """Of an element of this creator's block, wherever the block stands; None if nobody knows."""
    known = _private().get(creator)
    if known is None:
        return None
    group, number = f"{tag >> 16:04X}", f"{tag & 0xFFFF:04X}"
    for key in (f"{group}{number}", f"{group}xx{number[2:]}", f"{group[:2]}xxxx{number[2:]}"):
        if (entry := known.get(key)) is not None:
            vr: str = entry[_VR]
            return vr
    return None


@cache
def _private() -> dict[str, dict[str, tuple[Any, ...]]]:
    tables: dict[str, dict[str, tuple[Any, ...]]] = _table("_private_dict").private_dictionaries
    return tables


def is_registered(uid: str) -> bool:
    """Whether PS3.6 has this very UID: it names a class, a syntax, a frame of reference or the like, and nobody.

    DICOM's root alone says nothing: anybody can write numbers behind it.
    """
    return uid.startswith(_ROOT) and uid in _uids()


@cache
def _uids() -> dict[str, tuple[str, ...]]:
    registered: dict[str, tuple[str, ...]] = _table("_uid_dict").UID_dictionary
    return registered
