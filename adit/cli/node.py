"""`adit node probe` and `adit node find`: what a DicomNode offers, and what it holds."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from adit.cli.console import ExitCode, Output, fail, out, print_json, print_table, say

if TYPE_CHECKING:
    from adit.cli.session import Session
    from adit.dicom.node import Answer, Node, Probe
    from adit.ledger.records import NodeKey
    from adit.model.dicom_node import DicomNode
    from adit.model.findings import Findings

_SHOWN: Final = 3  # items of a long list

app = typer.Typer(no_args_is_help=True, help="Ask a DicomNode what it offers and what it holds.")

File = Annotated[
    Path | None,
    typer.Option(
        "--file", "-f", help="Take the DicomNode from this YAML file instead of the ledger.", show_default=False
    ),
]
AsJson = Annotated[Output, typer.Option("--output", "-o", help="How the answer is written.")]


class FindLevel(StrEnum):
    PATIENT = "patient"
    STUDY = "study"
    SERIES = "series"
    IMAGE = "image"


@app.command()
def probe(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="NAME|FILE", help="A DicomNode's name, or a YAML file: then each in it.")
    ],
    file: File = None,
    output: AsJson = Output.TABLE,
) -> None:
    """Ask whether a node answers, and what it offers.

    A PACS is asked by C-ECHO and by what it accepts in an association, a
    DICOMweb server by small requests; a folder is looked at, and for the
    password of its archives. What a node in the ledger offers is noted there,
    and how it did in transfers is shown.

    [bold]Exit codes[/bold]

        0  it answers and offers what its DicomNode lists
        1  it doesn't answer, or lacks a Secret
        2  refused (usage, manifest, set-up)
        3  it doesn't offer something that its DicomNode lists

    [bold]Examples[/bold]

      adit node probe job.yaml                    every node in the file
      adit node probe radiology-pacs -f job.yaml
      adit node probe radiology-pacs              as applied before
    """
    with _session(context, file, name) as session:
        probes = [(node, _open(context, node).probe()) for node in _nodes(session, name, file)]
        roads = _noted(session, probes)
    if output is Output.JSON:
        print_json([_as_json(node, found) | {"roads": _roads(roads.get(node.key))} for node, found in probes])
    else:
        for node, found in probes:
            _tell(node, found)
            for road in _roads(roads.get(node.key)):
                how = "works" if road["works"] else f"[yellow]fails[/yellow] ({road['fault']})"
                out.print(f"  {road['name']} {how}, as transfers saw at {road['time']}")
    if any(not found.reachable or found.fault for _, found in probes):
        raise typer.Exit(ExitCode.NOT_GREEN)
    if any(_missing(node, found) for node, found in probes):
        raise typer.Exit(ExitCode.WARNINGS)


@app.command()
def find(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="A DicomNode's name.")],
    level: Annotated[FindLevel, typer.Option(help="What to look for.")] = FindLevel.STUDY,
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="KEYWORD=VALUE", help="What it must match; may stand often."),
    ] = None,
    returning: Annotated[
        list[str] | None,
        typer.Option("--return", "-r", metavar="KEYWORD", help="What to show besides; may stand often."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Show at most so many.")] = 100,
    file: File = None,
    output: AsJson = Output.TABLE,
) -> None:
    """Look for patients, studies, series or images.

    Asks by C-FIND; of a folder or bucket, reads headers. Keys are DICOM
    keywords; values match as DICOM says (PS3.4 C.2.2.2): * and ?, dates as
    20240101-20241231, several UIDs with a backslash between them. Of a PACS,
    series need a StudyInstanceUID, images a SeriesInstanceUID too.

    [bold]Examples[/bold]

      adit node find radiology-pacs -k PatientID=1003
      adit node find radiology-pacs -k StudyDate=20240101- -o json
      adit node find radiology-pacs --level series -k StudyInstanceUID=1.2.840.1
    """
    from adit.cli.found import as_json, as_table, columns, keys_of
    from adit.dicom.node import Level, Query
    from adit.model.outcome import TransferFault

    keys = keys_of(key or [])
    shown = columns(Level(level.upper()), keys, returning or [])
    query = Query(Level(level.upper()), keys, tuple(keyword for keyword in shown if keyword not in keys), limit)
    with _session(context, file, name) as session:
        nodes = _nodes(session, name, file)
        try:
            found: list[Answer] = [each for node in nodes for each in _open(context, node).find(query)]
        except TransferFault as error:
            fail(str(error.fault), ExitCode.NOT_GREEN)
    if output is Output.JSON:
        print_json(as_json(found, shown))
        return
    print_table(out, as_table(found, shown))
    say.print(f"{len(found)} found{', perhaps more: --limit' if len(found) == limit else ''}", style="dim")


def _session(context: typer.Context, file: Path | None, name: str) -> AbstractContextManager[Session | None]:
    """The ledger, unless the node comes from a file."""
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    return nullcontext() if file is not None or _is_file(name) else open_session(settings_of(context))


def _nodes(session: Session | None, name: str, file: Path | None) -> list[DicomNode]:
    from adit.cli.job_name import name_of
    from adit.cli.manifest_input import read_files
    from adit.model.dicom_node import DicomNode

    namespace, _, plain = name.rpartition("/")
    if session is not None:
        node = session.ledger.node((namespace or "default", plain))
        if node is None:
            known = _known(name, [name_of(each.metadata) for each in session.ledger.nodes()])
            fail(f"There is no DicomNode {name} in the ledger {known} Apply it, or name its file with -f.")
        return [node]
    in_file = [each for each in read_files([str(file or name)]) if isinstance(each, DicomNode)]
    found = in_file if file is None else [each for each in in_file if each.metadata.name == plain]
    if not found:
        known = _known(plain, [each.metadata.name for each in in_file])
        fail(f"There is no DicomNode {name} in {file or name} {known}")
    return found


def _known(name: str, names: list[str]) -> str:
    from adit.model.guess import guess

    return f"(there are: {', '.join(names) or 'none'}){guess(name, names) or '.'}"


def _is_file(name: str) -> bool:
    return name == "-" or name.endswith((".yaml", ".yml"))


def _open(context: typer.Context, node: DicomNode) -> Node:
    from adit.cli.settings import settings_of
    from adit.dicom.opening import open_node
    from adit.model.assignment import Share

    return open_node(node, Share(), secrets=settings_of(context).secrets_folder)


def _noted(session: Session | None, probes: list[tuple[DicomNode, Probe]]) -> dict[NodeKey, Findings]:
    """Writes down what was found, where there is a ledger, and reads what transfers found."""
    if session is None:
        return {}
    from datetime import UTC, datetime

    for node, found in probes:
        if found.reachable and found.fault is None and node.spec.services is not None:
            session.ledger.note_probe(node, found.services, datetime.now(UTC))
    return session.ledger.findings()


def _roads(findings: Findings | None) -> list[dict[str, Any]]:
    return [] if findings is None else [road.model_dump(mode="json") for road in findings.roads]


def _missing(node: DicomNode, found: Probe) -> list[str]:
    """Services that the DicomNode lists and the peer does not offer."""
    return [str(service) for service in node.spec.services or () if str(service) not in found.services]


def _as_json(node: DicomNode, found: Probe) -> dict[str, Any]:
    return {
        "node": node.metadata.name,
        "reachable": found.reachable,
        "services": list(found.services),
        "missing": _missing(node, found) if found.reachable else [],
        "detail": dict(found.detail),
        "fault": found.fault.as_json() if found.fault else None,
    }


def _tell(node: DicomNode, found: Probe) -> None:
    from adit.model.outcome import FaultCode

    answers = "[green]answers[/green]" if found.reachable else "[bold red]does not answer[/bold red]"
    if not found.reachable and found.fault is not None and found.fault.code is FaultCode.SECRET_MISSING:
        answers = "[bold red]was not asked: a Secret is missing[/bold red]"
    out.print(f"{node.metadata.name} ({_address(node)}) {answers}")
    if found.services:
        out.print(f"  offers {', '.join(found.services)}")
    if found.reachable and _missing(node, found):
        out.print(
            f"  [yellow]does not offer, though its DicomNode lists it: {', '.join(_missing(node, found))}[/yellow]"
        )
    for name, value in found.detail.items():
        out.print(f"  {name}: {_folded(value)}", markup=False)
    if found.fault:
        out.print(f"  {found.fault}", markup=False)


def _folded(listed: str) -> str:
    """The beginning of a long list: the JSON has all of it."""
    items = listed.split("; ")
    left = len(items) - _SHOWN
    return listed if left <= 0 else f"{'; '.join(items[:_SHOWN])}; and {left} more (-o json lists them)"


def _address(node: DicomNode) -> str:
    spec = node.spec
    if spec.folder is not None:
        return spec.folder.path
    if spec.s3 is not None:
        return f"s3://{spec.s3.bucket}/{spec.s3.root}"
    faces = [] if spec.dimse is None else [f"{spec.dimse.ae_title} at {spec.dimse.host}:{spec.dimse.port}"]
    return ", ".join(faces if spec.dicom_web is None else [*faces, spec.dicom_web.url])
