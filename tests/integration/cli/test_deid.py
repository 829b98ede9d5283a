"""`adit deid` as a process: on real files, checked in bytes and by DCMTK; twice the same; nothing half."""

from __future__ import annotations

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from tests.integration.cli.command import Adit

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[3]
FILES = Path(pydicom.__file__).parent / "data/test_files"
NAMES = ("Zyxwvut", "Quorra", "MRN-990017")


@pytest.fixture
def adit(tmp_path: Path) -> Adit:
    return Adit(tmp_path, {})


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """Two studies of one patient, whose name stands also where no profile looks for it."""
    folder = tmp_path / "originals"
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("CT_small.dcm", "MR_small.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm")):
        found = dcmread(FILES / name)
        found.PatientName, found.PatientID = "Zyxwvut^Quorra", "MRN-990017"
        found.ImageComments, found.AccessionNumber = "seen by Dr. Quorra", "ACC-7"
        found.file_meta.SourceApplicationEntityTitle = "QUORRA"
        found.file_meta.PrivateInformationCreatorUID = UID("1.2.3.4")
        found.file_meta.PrivateInformation = b"of Zyxwvut"
        found.SOPClassUID = found.file_meta.MediaStorageSOPClassUID = CTImageStorage  # one of them is a capture
        found.SOPInstanceUID = found.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.826.0.1.3680043.9.{number}")
        file = BytesIO()
        found.save_as(file)
        data = bytearray(file.getvalue())
        data[:64] = b"preamble of Zyxwvut".ljust(64)
        trailing = b"" if "dfl" in name else b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0Zyxwvut "
        if found.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian:
            trailing = b""
        (folder / "sub" / f"{number}.dcm").write_bytes(bytes(data) + trailing)
    (folder / "notes.txt").write_text("no DICOM")
    return folder


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "project.key"
    file.write_bytes(bytes(range(32)))
    return file


def profile(name: str, overrides: str = "[]") -> str:
    head = f"apiVersion: adit.dev/v1alpha1\nkind: DeidProfile\nmetadata: {{name: {name}}}\n"
    return f"{head}spec:\n  key: {{secretName: key}}\n  overrides: {overrides}\n"


def written(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("profile", ["basic", "research", "upstream"])
def test_copies_name_nobody_and_open_elsewhere(adit: Adit, originals: Path, key: Path, profile: str) -> None:
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "--profile", profile)
    assert (ended.code, ended.err) == (0, "")
    assert ended.json == {"written": 4, "refused": 0, "leftOut": 0, "notDICOM": 1, "patients": 1}
    files = written(adit.folder / "copies")
    assert len(files) == 5
    for path, data in files.items():
        if path.endswith(".dcm"):
            assert data[:128] == bytes(128)
            copy = str(adit.folder / "copies" / path)
            for command in (["dcmdump", copy], ["dcmconv", "+te", copy, str(adit.folder / "converted.dcm")]):
                subprocess.run(command, check=True, capture_output=True)
        for name in NAMES:
            assert name.lower().encode() not in data.lower(), path
    # in another process, elsewhere: the same bytes
    shutil.rmtree(adit.folder / "copies")
    adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "--profile", profile)
    assert written(adit.folder / "copies") == files


def test_pixels_are_unchanged(adit: Adit, originals: Path, key: Path) -> None:
    adit("deid", str(originals), "--out", "copies", "--key-file", str(key))
    pixels = {dcmread(file).PixelData for file in originals.rglob("*.dcm")}
    assert {dcmread(file).PixelData for file in (adit.folder / "copies").rglob("*.dcm")} == pixels


def test_what_is_refused_is_not_written_and_told(adit: Adit, originals: Path, key: Path) -> None:
    for file in originals.rglob("*.dcm"):
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key))
    assert ended.code == 1
    assert ended.json["refused"] == 4
    assert "sub/0.dcm: Malformed" in ended.err
    assert set(written(adit.folder / "copies")) == {"audit.jsonl"}
    assert "quarantined" in written(adit.folder / "copies")["audit.jsonl"].decode()


def test_two_of_one_uid_are_never_taken_for_one(adit: Adit, originals: Path, key: Path) -> None:
    shutil.copy(originals / "sub" / "0.dcm", originals / "sub" / "again.dcm")
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key))
    assert ended.code == 1
    assert (ended.json["written"], ended.json["refused"]) == (4, 1)
    assert "sub/again.dcm: DuplicateInstance" in ended.err


def test_one_pseudonym_is_for_one_patient(adit: Adit, originals: Path, key: Path) -> None:
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "--pseudonym", "STROKE-001")
    assert ended.code == 0
    assert {dcmread(file).PatientID for file in (adit.folder / "copies").rglob("*.dcm")} == {"STROKE-001"}


def test_nothing_of_a_second_patient_is_written_under_the_pseudonym_of_the_first(
    adit: Adit, originals: Path, key: Path
) -> None:
    for number, file in enumerate(sorted(originals.rglob("*.dcm"))):
        dataset = dcmread(file)
        dataset.PatientID = "FIRST" if number == 0 else "SECOND"
        dataset.save_as(file)
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "--pseudonym", "STROKE-001")
    assert ended.code == 2
    assert "one pseudonym cannot stand for both" in ended.err
    assert len(list((adit.folder / "copies").rglob("*.dcm"))) == 1


def test_the_mapping_needs_the_key(adit: Adit, originals: Path, key: Path) -> None:
    adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "--mapping", "pairs")
    assert "MRN" not in (adit.folder / "pairs").read_text()
    told = adit("deid", "mapping", "pairs", "--key-file", str(key))
    assert told.out.splitlines()[0] == "original,replacement"
    assert told.out.splitlines()[1].startswith("MRN-990017,")
    accession = dcmread(next((adit.folder / "copies").rglob("*.dcm"))).AccessionNumber
    numbers = adit("deid", "mapping", "pairs", "--key-file", str(key), "--kind", "number")
    assert f"ACC-7,{accession}" in numbers.out.splitlines()
    other = adit.folder / "other.key"
    other.write_bytes(bytes(32))
    assert adit("deid", "mapping", "pairs", "--key-file", str(other)).code == 2
    other.write_bytes(b"\xff" * 32)
    ended = adit("deid", "mapping", str(other), "--key-file", str(key))
    assert (ended.code, "no mapping" in ended.err) == (2, True)
    other.write_bytes(b"short")
    ended = adit("deid", "mapping", "pairs", "--key-file", str(other))
    assert ended.err.startswith(f"{other}: the project's key must have at least 32 bytes")


def test_pairs_of_two_projects_are_not_put_into_one_file(adit: Adit, originals: Path, key: Path) -> None:
    (adit.folder / "stroke.yaml").write_text(
        "apiVersion: adit.dev/v1alpha1\nkind: DeidProfile\nmetadata: {name: stroke}\nspec: {key: {secretName: key}}\n"
    )
    given = ("deid", str(originals), "--key-file", str(key))
    stroke = ("--profile", "stroke.yaml")
    adit(*given, "--out", "one", "--mapping", "pairs")
    before = (adit.folder / "pairs").read_text()
    refused = adit(*given, "--out", "two", "--mapping", "pairs", *stroke)
    assert refused.code == 2
    assert "name another file with --mapping" in refused.err
    assert not (adit.folder / "two").exists()
    assert (adit.folder / "pairs").read_text() == before
    # put together all the same, each reads its own
    adit(*given, "--out", "two", "--mapping", "others", *stroke)
    others = (adit.folder / "others").read_text()
    (adit.folder / "pairs").write_text(before + others)
    for project, foreign in (("research", others), ("stroke", before)):
        told = adit("deid", "mapping", "pairs", "--key-file", str(key), "--project", project)
        assert told.code == 0
        assert told.out.splitlines()[1].startswith("MRN-990017,")
        assert f"{len(foreign.splitlines())} lines skipped: of another key or project (" in told.err
    third = adit("deid", "mapping", "pairs", "--key-file", str(key), "--project", "third")
    assert (third.code, third.out) == (2, "")
    assert f"than {key} with third (" in third.err
    for lines in (before, others):
        assert json.loads(lines.splitlines()[0])["key"] in third.err


def test_mistakes_are_told_before_anything_is_written(adit: Adit, originals: Path, key: Path) -> None:
    weak = adit.folder / "weak.key"
    weak.write_bytes(b"secret")
    head = "apiVersion: adit.dev/v1alpha1\nkind: DeidProfile\nmetadata: {name: mine}\nspec:\n  key: {secretName: key}\n"
    (adit.folder / "field.yaml").write_text(f"{head}  optons: [CleanGraphics]\n")
    (adit.folder / "keyword.yaml").write_text(f"{head}  overrides: [{{keyword: PatientNam, action: Keep}}]\n")
    for arguments, told in (
        (("--key-file", str(weak)), "at least 32 bytes"),
        (("--key-file", str(key), "--profile", "nobody"), "neither one of"),
        (("--key-file", str(key), "--profile", "field.yaml"), "field.yaml:6 (document 1): spec.optons: is not a field"),
        (("--key-file", str(key), "--profile", "field.yaml"), "did you mean options?"),
        (("--key-file", str(key), "--profile", "keyword.yaml"), "spec.overrides[0]: there is no attribute PatientNam"),
        (("--key-file", str(key), "--profile", "keyword.yaml"), "did you mean PatientName?"),
        (("--key-file", "nowhere"), "nowhere"),
        (("--key-file", str(key), "--pseudonym", ""), "1 to 64 characters"),
        (("--key-file", str(key), "--pseudonym", "A\\B"), "no backslash"),
    ):
        ended = adit("deid", str(originals), "--out", "copies", *arguments)
        assert ended.code == 2
        assert told in ended.err
        assert not (adit.folder / "copies").exists()
    inside = adit("deid", str(originals), "--out", str(originals / "copies"), "--key-file", str(key))
    assert inside.code == 2


def test_a_folder_that_is_not_empty_is_left_as_it_is(adit: Adit, originals: Path, key: Path) -> None:
    (adit.folder / "copies").mkdir()
    assert adit("deid", str(originals), "--out", "copies", "--key-file", str(key)).code == 0
    before = written(adit.folder / "copies")
    again = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "--profile", "basic")
    assert again.code == 2
    assert "copies is not empty" in again.err
    assert "Name a new folder" in again.err
    assert written(adit.folder / "copies") == before


def test_explain_tells_rules_and_no_values(adit: Adit, originals: Path) -> None:
    ended = adit("deid", "explain", str(originals / "sub" / "0.dcm"), "--profile", "basic")
    assert ended.code == 0
    assert "00100010  pseudonym  E.1-1 Z" in ended.out
    assert "remove     private" in ended.out
    assert not any(name in ended.out for name in NAMES)


def test_explain_ends_as_deid_does_where_it_refuses(adit: Adit, originals: Path, key: Path) -> None:
    file = originals / "sub" / "0.dcm"
    file.write_bytes(file.read_bytes()[:600])
    ended = adit("deid", "explain", str(file))
    assert ended.code == 1
    refused = adit("deid", str(originals), "--out", "copies", "--key-file", str(key))
    assert f"sub/0.dcm: {ended.out.splitlines()[-1].removeprefix('# refused: ')}" in refused.err


def test_the_file_of_a_job_is_a_profile_too(adit: Adit, originals: Path, key: Path) -> None:
    example = (ROOT / "examples" / "deidentified.yaml").read_text(encoding="utf-8")
    (adit.folder / "job.yaml").write_text(example, encoding="utf-8")
    (adit.folder / "two.yaml").write_text(f"{example}---\n{profile('other')}", encoding="utf-8")
    (adit.folder / "none.yaml").write_text(
        (ROOT / "examples" / "nodes.yaml").read_text(encoding="utf-8"), encoding="utf-8"
    )
    for name, told in (("two.yaml", "holds 2 (stroke, other)"), ("none.yaml", "holds none")):
        ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "-p", name)
        assert (ended.code, told in ended.err) == (2, True), ended.err
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "-p", "job.yaml")
    assert (ended.code, ended.err, ended.json["written"]) == (0, "", 4)


def test_a_mistake_in_a_profile_is_told_as_in_a_manifest(adit: Adit, originals: Path) -> None:
    (adit.folder / "mine.yaml").write_text(profile("mine", "[{tag: 00081030, action: Keep}]"))
    ended = adit("deid", "explain", str(originals / "sub" / "0.dcm"), "-p", "mine.yaml")
    assert ended.code == 2
    assert "mine.yaml:6 (document 1): spec.overrides[0].tag: must be in quotes" in ended.err
    assert adit("apply", "mine.yaml").err.splitlines()[0] in ended.err


def test_a_profile_that_keeps_who_the_patient_is_says_so(adit: Adit, originals: Path, key: Path) -> None:
    (adit.folder / "mine.yaml").write_text(profile("mine", "[{keyword: PatientName, action: Keep}]"))
    told = "the profile keeps PatientName, so the copies still tell who the patient is (PatientIdentityRemoved is NO)"
    ended = adit("deid", str(originals), "--out", "copies", "--key-file", str(key), "-p", "mine.yaml")
    assert ended.code == 0
    assert ended.err == f"Beware: {told}.\n"
    explained = adit("deid", "explain", str(originals / "sub" / "0.dcm"), "-p", "mine.yaml")
    assert f"# beware: {told}" in explained.out


def test_a_folder_without_dicom_files_is_told(adit: Adit, key: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "notes.txt").write_text("no DICOM")
    ended = adit("deid", "letters", "--out", "copies", "--key-file", str(key))
    assert ended.code == 1
    assert "Nothing was written: letters holds no DICOM file" in ended.err
