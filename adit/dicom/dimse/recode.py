"""Uncompressed data sets from one transfer syntax into another, without touching a value's bytes.

Called by `store` when a peer refuses an instance's own transfer syntax. Values are copied as they are
(for big endian, their numbers turned round), never converted to Python and back: a wrong character set
or an odd decimal would not survive that. Pixel data passes through in pieces.
"""

from __future__ import annotations

import array
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final

from pydicom.datadict import dictionary_VR, private_dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from adit.dicom.dimse.contexts import DEFLATED_LE, EXPLICIT_BE, EXPLICIT_LE, IMPLICIT_LE
from adit.dicom.header_walk import EndlessError, require_few
from adit.dicom.node import Instance
from adit.dicom.payload import Payload, PayloadWriter, ReceivedInstance, Spool
from adit.dicom.tolerant_pydicom import Dataset
from adit.model.outcome import TransferFault

_PIXEL_VRS: Final = {0x7FE00008: "OF", 0x7FE00009: "OD", 0x7FE00010: "OW"}
_UNIT: Final = {
    **dict.fromkeys(("US", "SS", "OW", "AT"), "H"),
    **dict.fromkeys(("UL", "SL", "FL", "OF", "OL"), "I"),
    **dict.fromkeys(("FD", "OD", "SV", "UV", "OV"), "Q"),
}
_LONG_VRS: Final = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
_UNDEFINED: Final = 0xFFFFFFFF
_BLOCK: Final = 256 * 1024
_MOST: Final = 250_000  # elements and items, all of which are objects at once; they take 200 MB


class UnreadableError(ValueError):
    """The bytes are not what their transfer syntax says."""


def recoded(instance: Instance, transfer_syntax: str, spool: Spool | None = None) -> ReceivedInstance:
    """A copy of an instance in one of `contexts.RECODABLE`, encoded in Explicit or Implicit VR Little Endian.

    The caller closes it; `spool` takes what is too big for memory. Raises UnreadableError, OSError, and what the
    instance raises.
    """
    try:
        payload = _payload(instance, transfer_syntax, spool)
    except (OSError, TransferFault):
        raise
    except EndlessError as error:
        raise UnreadableError(f"it has more than {_MOST} elements and items") from error
    except Exception as error:
        raise UnreadableError(f"its data set cannot be read as {instance.transfer_syntax_uid}") from error
    return ReceivedInstance(
        instance.study_instance_uid,
        instance.series_instance_uid,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        transfer_syntax,
        payload,
    )


def _payload(instance: Instance, target: str, spool: Spool | None) -> Payload:
    source = instance.transfer_syntax_uid
    with instance.open() as reader:
        if source != DEFLATED_LE:
            return _rewritten(reader, source, target, PayloadWriter(spool))
        inflated = PayloadWriter(spool)
        try:
            for piece in _inflated(reader):
                inflated.write(piece)
        except BaseException:
            inflated.discard()
            raise
    whole = inflated.finish()
    if target == EXPLICIT_LE:
        return whole
    try:
        with whole.open() as reader:
            return _rewritten(reader, EXPLICIT_LE, target, PayloadWriter(spool))
    finally:
        whole.close()


def _inflated(reader: BinaryIO) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while piece := reader.read(_BLOCK):
        while piece:
            yield inflater.decompress(piece, _BLOCK)
            piece = inflater.unconsumed_tail
    yield inflater.flush()


def _rewritten(reader: BinaryIO, source: str, target: str, writer: PayloadWriter) -> Payload:
    try:
        require_few(reader, source, _MOST)
        reader.seek(0)
        head = _read(reader, source, until_pixels=True)
        writer.write(_encoded(head, source, target, head))
        while pixels := _pixel_header(reader, source):
            _copy_pixels(reader, writer, *pixels, source=source, target=target)
        writer.write(_encoded(_read(reader, source, until_pixels=False), source, target, head))
    except BaseException:
        writer.discard()
        raise
    return writer.finish()


def _read(reader: BinaryIO, source: str, *, until_pixels: bool) -> Dataset:
    return read_dataset(
        reader,
        source == IMPLICIT_LE,
        source != EXPLICIT_BE,
        stop_when=(lambda tag, vr, length: tag >= 0x7FE00008) if until_pixels else None,
    )


def _encoded(dataset: Dataset, source: str, target: str, root: Dataset) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = target == IMPLICIT_LE
    buffer.is_little_endian = True
    # All raw elements are taken first: to look one up by `dataset[tag]` converts it for good.
    for tag, element in [(tag, dataset.get_item(tag, keep_deferred=True)) for tag in sorted(dataset.keys())]:
        if element is None or tag.element == 0:  # group lengths are retired and would be wrong now
            continue
        vr = element.VR or _vr(tag, dataset, root)
        if vr == "SQ":
            _write_sequence(buffer, tag, dataset[tag].value, source, target, root)
            continue
        value = element.value or b""  # pydicom reads an empty implicit value as None
        if not isinstance(element, RawDataElement) or not isinstance(value, bytes):
            raise UnreadableError(f"{tag} is not what its VR {vr} says")
        if source == EXPLICIT_BE and vr in _UNIT:
            value = _turned(value, _UNIT[vr])
        if vr not in _LONG_VRS and len(value) > 0xFFFF:
            vr = "UN"
        write_data_element(buffer, RawDataElement(tag, vr, len(value), value, 0, False, True, True))
    return bytes(buffer.getvalue())


def _write_sequence(
    buffer: DicomBytesIO, tag: BaseTag, items: Sequence, source: str, target: str, root: Dataset
) -> None:
    encoded = b"".join(
        struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item
        for item in (_encoded(each, source, target, root) for each in items)
    )
    write_data_element(buffer, RawDataElement(tag, "SQ", len(encoded), encoded, 0, False, True, True))


def _vr(tag: BaseTag, dataset: Dataset, root: Dataset) -> str:
    """The VR that an implicit element has by the dictionaries; UN where they don't know it."""
    try:
        if tag.is_private_creator:
            return "LO"
        if tag.is_private:
            creator = dataset.get((tag.group, tag.element >> 8))
            return private_dictionary_VR(tag, str(creator.value)) if creator is not None else "UN"
        vr = dictionary_VR(tag)
    except KeyError:
        return "UN"
    if vr in ("US or SS", "US or SS or OW"):
        representation = dataset.get("PixelRepresentation", root.get("PixelRepresentation", 0))
        return "SS" if representation else "US"
    return "OW" if " or " in vr else vr


def _turned(value: bytes, unit: str) -> bytes:
    numbers = array.array(unit)
    numbers.frombytes(value)
    numbers.byteswap()
    return numbers.tobytes()


def _pixel_header(reader: BinaryIO, source: str) -> tuple[int, str, int] | None:
    """Tag, VR and length of the pixel element that comes next; None, and nothing read, if none does."""
    start = reader.tell()
    order = ">" if source == EXPLICIT_BE else "<"
    head = reader.read(8)
    if len(head) == 8:
        group, element = struct.unpack_from(f"{order}HH", head)
        tag = group << 16 | element
        if tag in _PIXEL_VRS:
            if source == IMPLICIT_LE:
                vr, length = _PIXEL_VRS[tag], struct.unpack_from("<I", head, 4)[0]
            else:
                vr, length = head[4:6].decode("ascii"), struct.unpack(f"{order}I", reader.read(4))[0]
            if length == _UNDEFINED:
                raise UnreadableError("its pixel data is encapsulated")
            return tag, vr, length
    reader.seek(start)
    return None


def _copy_pixels(
    reader: BinaryIO, writer: PayloadWriter, tag: int, vr: str, length: int, *, source: str, target: str
) -> None:
    if target == IMPLICIT_LE:
        writer.write(struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length))
    else:
        writer.write(struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode("ascii"), 0, length))
    while length:
        piece = reader.read(min(_BLOCK, length))
        if not piece:
            raise UnreadableError("its pixel data is cut short")
        length -= len(piece)
        writer.write(_turned(piece, _UNIT[vr]) if source == EXPLICIT_BE and vr in _UNIT else piece)
