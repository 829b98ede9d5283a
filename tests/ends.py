"""A node of each kind on a real server, to transfer from and to: what the matrix is made of.

Used by the matrix's test and by its benchmark. What arrived is looked at past the code under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from io import BytesIO
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from pydicom import Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian, JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless

from adit.model.dicom_node import DicomNode
from tests import samples
from tests.peers.orthanc import Orthanc
from tests.peers.receiver import Receiver
from tests.peers.seaweedfs import OWNER, Bucket, SeaweedFS
from tests.peers.seven_zip import unpacked
from tests.samples import PRIVATE_SOP_CLASS, Study

SOURCES: Final = ("C-GET", "C-MOVE", "DICOMweb", "folder", "S3")
DESTINATIONS: Final = ("DIMSE", "DICOMweb", "folder", "S3")
ROADS: Final = {"C-GET": "C-GET", "C-MOVE": "C-MOVE", "DICOMweb": "WADO-RS", "folder": "Folder", "S3": "S3"}
"""What the ledger says of a fetch from each of the sources."""

_SYNTAXES: Final = (ImplicitVRLittleEndian, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless)
_PASSWORD: Final = "gestern-heute"
_LIMITS: Final = {"tasks": 1, "associations": 4}

Digests = dict[str, str]
"""Of each instance, by its SOP Instance UID, the SHA-256 of its encoded data set."""


def study_of_every_kind(seed: str) -> Study:
    """Several SOP classes, one of them nobody's, and transfer syntaxes, most of them compressed."""
    private = samples.ct_study(2, seed=f"{seed}-private", study=seed, patient_id="1002", sop_class=PRIVATE_SOP_CLASS)
    return Study((*samples.mixed_study(seed).instances, *private.instances, *_in_each_syntax(seed)))


def _in_each_syntax(seed: str) -> Iterator[Dataset]:
    for number, syntax in enumerate(_SYNTAXES, 1):
        made = samples.instance(
            f"{seed}-syntax", study=seed, patient_id="1002", series=9, number=number, transfer_syntax=syntax
        )
        if syntax.is_encapsulated:
            made["PixelData"].VR = "OB"  # as it must be (PS3.5 A.4), and as Orthanc writes it
        yield made


@dataclass(frozen=True)
class Destination:
    """One that nothing was written to yet."""

    node: DicomNode
    holds: Callable[[], Digests]


class Ends:
    """Two Orthancs with DICOMweb, a SeaweedFS and folders below `tmp`. Their credentials are in `secrets`.

    They listen on `host`. Workers find `tmp` at its path, and may be another user than we are.
    """

    def __init__(self, tmp: Path, host: str = "127.0.0.1") -> None:
        self._tmp = tmp
        self._stack = ExitStack()
        self._number = count(1)
        self._source = Orthanc(tmp, aet="SOURCE", dicomweb=True, host=host)
        self._destination = Orthanc(tmp, aet="DESTINATION", dicomweb=True, host=host)
        self._seaweedfs = SeaweedFS(tmp, host=host)
        self._files = tmp / "source"

    @property
    def pacs(self) -> Orthanc:
        """The source of C-GET, C-MOVE and DICOMweb."""
        return self._source

    @property
    def folder(self) -> Path:
        """All that is not on a server."""
        return self._tmp

    @property
    def secrets(self) -> Path:
        return self._tmp / "secrets"

    def __enter__(self) -> Self:
        OWNER.write(self.secrets / "owner")
        (self.secrets / "archives").mkdir()
        (self.secrets / "archives" / "password").write_text(_PASSWORD)
        self._files.mkdir()
        for server in (self._source, self._destination, self._seaweedfs):
            self._stack.enter_context(server)
        self._bucket = self._seaweedfs.bucket()
        self._stack.callback(self._bucket.client.close)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.close()

    def fill(self, files: Iterable[bytes]) -> None:
        """Puts these to each of the sources."""
        for number, file in enumerate(files):
            self._source.upload(file)
            (self._files / f"{number}.dcm").write_bytes(file)
            self._bucket.put(f"in/{number}", file)

    @contextmanager
    def receiving(self, receiver_url: str) -> Iterator[None]:
        """A receiver on that ledger, which the PACS sends to when it is asked by C-MOVE."""
        with Receiver(self._tmp, database_url=receiver_url) as receiver:
            self._source.knows(receiver.aet, receiver.host, receiver.dicom_port)
            yield

    def source(self, kind: str) -> DicomNode:
        match kind:
            case "C-GET":
                return _node("c-get", dimse=_dimse(self._source))
            case "C-MOVE":
                services = ["Verification", "StudyRootFind", "StudyRootMove"]
                return _node("c-move", dimse={**_dimse(self._source), "services": services})
            case "DICOMweb":
                return _node("web", dicomWeb={"url": self._source.dicomweb_url})
            case "folder":
                return _node("folder", folder={"path": str(self._files)})
            case _:
                return _node("bucket", s3=self._s3(self._bucket))

    def destination(self, kind: str) -> Destination:
        """The Orthanc is emptied for it."""
        name = f"to-{kind.lower()}-{next(self._number)}"
        match kind:
            case "DIMSE":
                return self._orthanc(name, dimse=_dimse(self._destination))
            case "DICOMweb":
                return self._orthanc(name, dicomWeb={"url": self._destination.dicomweb_url})
            case "folder":
                folder = self._empty(name)
                return Destination(_node(name, folder={"path": str(folder)}), partial(_in_folder, folder))
            case "Zip" | "SevenZip":
                folder = self._empty(name)
                place = {"path": str(folder), "archive": {"format": kind, "secretName": "archives"}}
                return Destination(_node(name, folder=place), partial(_in_archives, folder))
            case _:
                bucket = self._seaweedfs.bucket()
                self._stack.callback(bucket.client.close)
                return Destination(_node(name, s3=self._s3(bucket)), partial(_in_bucket, bucket))

    def _empty(self, name: str) -> Path:
        folder = self._tmp / name
        folder.mkdir()
        folder.chmod(0o777)
        return folder

    def _orthanc(self, name: str, **spec: Any) -> Destination:
        self._destination.delete_all()
        return Destination(_node(name, **spec), partial(_in_orthanc, self._destination))

    def _s3(self, bucket: Bucket) -> dict[str, Any]:
        return {"bucket": bucket.name, "endpoint": self._seaweedfs.url, "credentials": {"secretName": "owner"}}


def digests(files: Iterable[tuple[str, bytes]]) -> Digests:
    """Of DICOM files, given with the SOP Instance UIDs that they are known by. No two may be of one instance."""
    found: Digests = {}
    for uid, file in files:
        assert uid not in found
        assert file[128:132] == b"DICM"
        found[uid] = sha256(file[144 + int.from_bytes(file[140:144], "little") :]).hexdigest()
    return found


def digests_of(files: Iterable[bytes]) -> Digests:
    """The same of files by the UIDs within them, as pydicom reads them."""
    return digests(
        (str(dcmread(BytesIO(file), specific_tags=["SOPInstanceUID"]).SOPInstanceUID), file) for file in files
    )


def _node(name: str, **spec: Any) -> DicomNode:
    return DicomNode.model_validate({"metadata": {"name": name}, "spec": {**spec, "limits": _LIMITS}})


def _dimse(orthanc: Orthanc) -> dict[str, Any]:
    return {"aeTitle": orthanc.aet, "host": orthanc.host, "port": orthanc.dicom_port}


def _in_orthanc(orthanc: Orthanc) -> Digests:
    listed = orthanc.get("/instances?expand")
    return digests((item["MainDicomTags"]["SOPInstanceUID"], orthanc.file(item["ID"])) for item in listed)


def _in_folder(folder: Path) -> Digests:
    return digests((path.stem, path.read_bytes()) for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _in_archives(folder: Path) -> Digests:
    [archive] = _files(folder)
    members = unpacked(archive, _PASSWORD, folder / "unpacked")
    return digests((Path(name).stem, file) for name, file in members.items() if name.endswith(".dcm"))


def _in_bucket(bucket: Bucket) -> Digests:
    return digests((Path(key).stem, bucket.get(key)) for key in bucket.holds())
