"""`adit deid`: de-identifies a folder of DICOM files, or explains what would happen to one. Needs no ledger."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from adit.cli.arguments import Job
from adit.cli.console import CommandError, ExitCode, Output, fail, out, print_json, print_table, say

if TYPE_CHECKING:
    from adit.deid.engine.deidentified import Deidentified
    from adit.deid.identity import Identity
    from adit.deid.policy import Policy
    from adit.model.deid_profile import DeidProfile


class _FolderFirst(TyperGroup):
    """`adit deid FOLDER` is `adit deid folder FOLDER`."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in self.commands:
            args = ["folder", *args]
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """An option may stand before the folder, too."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            args = ["folder", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_FolderFirst,
    no_args_is_help=True,
    help="De-identify files, or tell what would happen to one.\n\n`adit deid FOLDER` is `adit deid folder FOLDER`.",
)

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile", "-p", metavar="NAME|FILE", help="basic, research, upstream, or a file with one DeidProfile."
    ),
]


@app.command("folder")
def folder(
    source: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the originals are; they stay as they are.")],
    target: Annotated[Path, typer.Option("--out", "-o", metavar="NEW", help="Where the copies go.")],
    key_file: Annotated[
        Path, typer.Option("--key-file", "-k", metavar="FILE", help="The project's key: at least 32 random bytes.")
    ],
    profile: ProfileOption = "research",
    pseudonym: Annotated[
        str | None,
        typer.Option(help="The patient's new name and ID; only where all files are one patient's.", show_default=False),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Add there which original is which, readable with the key only."),
    ] = None,
) -> None:
    """Write de-identified copies of all DICOM files in a folder.

    Each file is treated by the profile (PS3.15 Annex E), then looked at again
    by other code. What cannot be made safe is not written: it is told with
    its reason, and the exit code is 1. What was done to each element stands
    in NEW/audit.jsonl, without any value.

    The same key and project give the same pseudonyms and UIDs each time:
    keep the key, and keep it secret. The `key.secretName` of a profile in a
    file is for transfers only: here --key-file gives the key.

    [bold]Example[/bold]

      (umask 077; head -c 32 /dev/urandom > stroke.key)
      adit deid originals --out copies --key-file stroke.key

    [bold]Exit codes[/bold]

      0  all DICOM files were written (or left out, as the profile says)
      1  some were refused, or nothing was written
    """
    from adit.cli.deid_files import SeveralPatientsError, deidentified, files_in
    from adit.deid.audit import Audit
    from adit.deid.engine.instance import Engine
    from adit.deid.identity import WeakKeyError
    from adit.deid.mapping import sealed
    from adit.deid.pixels.decoder import DecoderProcess
    from adit.deid.policy import Policy, ProfileError
    from adit.deid.project_key import identity_from
    from adit.deid.quarantine import LeftOut, Quarantine
    from adit.dicom.file_meta import NotDicomError

    chosen = _profile(profile)
    _check_folders(source, target)
    if pseudonym is not None:
        _check_pseudonym(pseudonym)
    try:
        identity, policy = identity_from(key_file, chosen.project), Policy(chosen)
    except WeakKeyError as error:
        raise CommandError(f"{key_file}: {error}", ExitCode.REFUSED) from None
    except ProfileError as error:
        raise CommandError(f"{profile}: {error}", ExitCode.REFUSED) from None
    if mapping is not None:
        _check_mapping(mapping, key_file, identity)
    target.mkdir(parents=True, exist_ok=True)
    told: Counter[str] = Counter()
    patients: set[str] = set()
    with DecoderProcess() as decoder, (target / "audit.jsonl").open("w", encoding="utf-8") as file:
        engine = Engine(policy, identity, decoder)
        audit = Audit(file, engine)
        pairs = _Pairs()
        for path, result in deidentified(files_in(source), target, engine, pseudonym=pseudonym):
            name = str(path.relative_to(source))
            match result:
                case SeveralPatientsError():
                    fail(f"{name} is of another patient than those before: one pseudonym cannot stand for both.")
                case NotDicomError():
                    told["not DICOM"] += 1
                case LeftOut():
                    told["left out"] += 1
                    audit.refused(name, result)
                case Quarantine():
                    told["refused"] += 1
                    audit.refused(name, result)
                    say.print(f"{name}: {result}", markup=False, style="red")
                case OSError():
                    raise result
                case made:
                    told["written"] += 1
                    audit.treated(made)
                    patients.add(made.subject.patient_id)
                    pairs.add(made)
        if mapping is not None:
            with mapping.open("a", encoding="utf-8") as lines:
                lines.writelines(f"{line}\n" for line in sealed(pairs.all, identity))
    _report(told, len(patients))
    if told["written"] and policy.keeps_identity:
        say.print(f"Beware: {_who_is_told(policy)}.", markup=False, style="yellow")
    if not told["written"] and not told["refused"]:
        say.print(f"Nothing was written: {source} holds no DICOM file that the profile lets leave.", markup=False)
    if told["refused"] or not told["written"]:
        raise typer.Exit(ExitCode.NOT_GREEN)


@app.command("explain")
def explain(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A DICOM file.")],
    profile: ProfileOption = "research",
) -> None:
    """Tell what would happen to each element of a file, and by which rule.

    The file is treated as `adit deid` would, and nothing is written: what
    would be emptied because the patient is named in it is told as such
    ("identifier"), and a file that would be refused ends with the reason.
    No value is shown.

    [bold]Example[/bold]

      adit deid explain scan.dcm --profile basic

    [bold]Exit codes[/bold]

      0  it would be written (or left out, as the profile says)
      1  it would be refused
    """
    from adit.cli.deid_explanation import explained
    from adit.deid.policy import Policy, ProfileError
    from adit.dicom.file_meta import NotDicomError

    try:
        policy = Policy(_profile(profile))
        explanation = explained(file, policy)
    except ProfileError as error:
        raise CommandError(f"{profile}: {error}", ExitCode.REFUSED) from None
    except NotDicomError as error:
        raise CommandError(f"{file}: {error}", ExitCode.REFUSED) from None
    for line in explanation.lines:
        out.print(line, markup=False)
    if explanation.refusal is None and policy.keeps_identity:
        out.print(f"# beware: {_who_is_told(policy)}", markup=False)
    if explanation.refusal is not None:
        out.print(f"# refused: {explanation.refusal}", markup=False)
        raise typer.Exit(ExitCode.NOT_GREEN)


@app.command("report")
def report(
    context: typer.Context,
    job: Job,
    output: Annotated[Output, typer.Option("--output", "-o", help="How it is written.")] = Output.TABLE,
) -> None:
    """Tell what was done to the instances of a job, and what was not sent.

    By which profile, edition and key, how often each action was done, and
    what was left out or refused, with the reasons. No value, no patient.
    A task counts when its last attempt has ended.

    [bold]Example[/bold]

      adit deid report stroke-ct -o json
    """
    from adit.cli.deid_report import tables_of
    from adit.cli.job_name import find_job
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    with open_session(settings_of(context)) as session:
        told = session.ledger.deidentification(find_job(session.ledger, job).id)
    if output is Output.JSON:
        print_json(told)
    elif not told["profiles"]:
        out.print("Nothing of this job was de-identified so far.")
    else:
        for table in tables_of(told):
            print_table(out, table)


@app.command("mapping")
def mapping(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `adit deid --mapping` wrote.")],
    key_file: Annotated[Path, typer.Option("--key-file", "-k", metavar="FILE", help="The project's key.")],
    kind: Annotated[str, typer.Option(help="patient, number or uid.")] = "patient",
    project: Annotated[str, typer.Option(help="The profile's project, or its name.")] = "research",
) -> None:
    """Write which original each pseudonym stands for, as CSV.

    Patients and UIDs are never written into one file.

    [bold]Example[/bold]

      adit deid mapping pairs.jsonl --key-file stroke.key --project stroke > patients.csv
    """
    import sys

    from adit.deid.identity import WeakKeyError
    from adit.deid.mapping import Kind, MappingError, opened, write_csv
    from adit.deid.project_key import identity_from

    if kind not in list(Kind):
        fail(f"--kind must be one of {', '.join(Kind)}, not {kind}")
    try:
        identity = identity_from(key_file, project)
        with file.open(encoding="utf-8") as lines:
            found = opened(lines, identity)
    except WeakKeyError as error:
        raise CommandError(f"{key_file}: {error}", ExitCode.REFUSED) from None
    except MappingError as error:
        raise CommandError(f"{file}: {error}", ExitCode.REFUSED) from None
    except UnicodeDecodeError:
        raise CommandError(f"{file}: it is no text, so no mapping", ExitCode.REFUSED) from None
    if found.foreign and not found.pairs:
        told = f"{file}: all of its lines are {_of_others(found.foreign, key_file, identity)}"
        raise CommandError(f"{told}: give theirs by --key-file and --project", ExitCode.REFUSED)
    if found.foreign:
        from adit.model.counted import counted

        total = counted(found.foreign.total(), "line")
        say.print(f"{total} skipped: {_of_others(found.foreign, key_file, identity)}.", markup=False)
    write_csv(found.pairs, Kind(kind), sys.stdout)


class _Pairs:
    """What was replaced by what, each pair once."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._seen: set[Any] = set()

    def add(self, made: Deidentified) -> None:
        from adit.deid.mapping import Kind, Pair

        pairs = [Pair(Kind.PATIENT, made.subject.patient_id, made.subject.pseudonym)]
        pairs += [Pair(kind, original, replacement) for (kind, original), replacement in made.pairs.items()]
        for pair in pairs:
            if pair not in self._seen:
                self._seen.add(pair)
                self.all.append(pair)


def _profile(name: str) -> DeidProfile:
    from adit.deid.profiles import names, ready
    from adit.model.deid_profile import DeidProfile
    from adit.model.manifest_file import ManifestErrors, read_all

    if name in names():
        return ready(name)
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        fail(f"{name} is neither one of {', '.join(names())} nor a file that can be read: {error.strerror}")
    except UnicodeDecodeError:
        fail(f"{name} is no YAML: it is not UTF-8; save it as UTF-8")
    try:
        found = [each for each in read_all([(name, text)]) if isinstance(each, DeidProfile)]
    except ManifestErrors as errors:
        raise CommandError(f"{name} is no DeidProfile:\n{errors}", ExitCode.REFUSED) from None
    if not found:
        fail(f"{name} must hold one DeidProfile, and holds none.")
    if len(found) > 1:
        held = ", ".join(each.metadata.name for each in found)
        fail(
            f"{name} must hold one DeidProfile, and holds {len(found)} ({held}): give the one meant a file of its own."
        )
    return found[0]


def _who_is_told(policy: Policy) -> str:
    kept = ", ".join(policy.identity_kept)
    return f"the profile keeps {kept}, so the copies still tell who the patient is (PatientIdentityRemoved is NO)"


def _check_folders(source: Path, target: Path) -> None:
    if not source.is_dir():
        fail(f"{source}: no such folder")
    one, other = source.resolve(), target.resolve()
    if one == other or one in other.parents or other in one.parents:
        fail("FOLDER and NEW must not lie in each other: copies would be taken for originals.")
    if target.exists() and not target.is_dir():
        fail(f"{target} is a file: name a new folder with --out.")
    if target.is_dir() and any(target.iterdir()):
        fail(
            f"{target} is not empty: its audit would tell of these files only, while older ones lie beside them. "
            "Name a new folder with --out, or remove that one first."
        )


def _check_pseudonym(pseudonym: str) -> None:
    """As in a job's studies: it becomes the one value of PatientID."""
    from pydantic import TypeAdapter, ValidationError

    from adit.model.identifiers import LongString

    try:
        TypeAdapter(LongString).validate_python(pseudonym)
    except ValidationError:
        fail("--pseudonym must have 1 to 64 characters, no backslash and no control characters.")


def _check_mapping(mapping: Path, key_file: Path, identity: Identity) -> None:
    """Before anything is written: who reads the file by one key must find all of it readable."""
    from adit.deid.mapping import MappingError, opened

    if not mapping.parent.is_dir():
        fail(f"{mapping.parent}: no such folder, for --mapping")
    try:
        with mapping.open(encoding="utf-8") as lines:
            foreign = opened(lines, identity).foreign
    except FileNotFoundError:
        return
    except (MappingError, UnicodeDecodeError) as error:
        raise CommandError(f"{mapping}: {error}: name another file with --mapping", ExitCode.REFUSED) from None
    if foreign:
        fail(f"{mapping}: it holds pairs {_of_others(foreign, key_file, identity)}: name another file with --mapping")


def _of_others(foreign: Counter[str], key_file: Path, identity: Identity) -> str:
    """Whose lines of a mapping are: by ids that tell keys and projects apart and nothing else of them."""
    theirs = ", ".join(each[:12] for each, _ in foreign.most_common(3))
    return f"of another key or project ({theirs}) than {key_file} with {identity.project} ({identity.key_id})"


def _report(told: Counter[str], patients: int) -> None:
    names = {"written": "written", "refused": "refused", "left out": "leftOut", "not DICOM": "notDICOM"}
    counts = {name: told[what] for what, name in names.items()}
    out.print_json(json.dumps({**counts, "patients": patients}))
