"""The arguments that several commands share, said the same way everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE...", help="YAML with TransferJobs and DicomNodes; - reads standard input."),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="A TransferJob's name, or namespace/name.")]
