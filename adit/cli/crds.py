"""`adit crds`: the CustomResourceDefinitions for a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def crds(
    folder: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write one file for each kind there; else all to standard output."),
    ] = None,
) -> None:
    """Write the CustomResourceDefinitions of TransferJob, DicomNode and DeidProfile.

    Always the same text for the same version; the repository's `crds/` is
    made by `adit crds --out crds`.

    [bold]Example[/bold]

      adit crds | kubectl apply -f -
    """
    from adit.model.crd import crds as made
    from adit.model.crd import text_of

    texts = {name: text_of(crd) for name, crd in made().items()}
    if folder is None:
        typer.echo("---\n".join(texts.values()), nl=False)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
        typer.echo(folder / name)
