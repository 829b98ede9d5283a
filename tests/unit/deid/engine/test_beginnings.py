"""Of a big instance the engine is given the beginning: it makes of it what it makes of the whole, or asks for that."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from adit.deid.element_walk import Encoding, elements
from adit.deid.engine.byte_walk import WholeNeededError
from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.instance import Engine
from adit.deid.identity import Identity
from adit.deid.policy import Policy
from adit.deid.profiles import ready
from adit.deid.splice import FileCursor
from adit.dicom.file_meta import read_file_meta


def content(made: Deidentified, raw: bytes) -> bytes:
    return b"".join(part if isinstance(part, bytes) else raw[part[0] : part[1]] for part in made.parts)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small.dcm"])
def test_wherever_the_beginning_ends(name: str) -> None:
    """Also between two elements, or within zeros, where nothing shows that there is more."""
    file = Path(str(get_testdata_file(name))).read_bytes()
    meta = read_file_meta(BytesIO(file))
    raw, syntax = file[meta.offset :], meta.transfer_syntax_uid
    engine = Engine(Policy(ready("research")), Identity(bytes(32), "research"))
    whole = content(engine.treat(raw, syntax), raw)
    encoding = Encoding(implicit="implicit" in name, little=True)
    found = list(elements(FileCursor(BytesIO(raw), len(raw)), encoding, frozenset(), 0x7FE00010))
    [pixels] = [each.start for each in found if each.tag == 0x7FE00010]
    starts = {each.start for each in found if each.start <= pixels}
    ends = sorted({*starts, *range(1, len(raw), 191), pixels + 4, pixels + 8, pixels + 12, pixels + 13})
    asked = 0
    for end in ends:
        try:
            made = engine.treat(raw[:end], syntax, end=len(raw), read=lambda start, count: raw[start : start + count])
        except WholeNeededError:
            asked += 1
            continue
        assert end > pixels
        assert content(made, raw) == whole
    assert asked >= len(starts)
