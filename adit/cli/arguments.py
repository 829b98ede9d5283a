"""The arguments that several commands share, said the same way everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...", help="YAML with TransferJobs, DicomNodes and DeidProfiles; - reads standard input."
    ),
]
Job = Annotated[str, typer.Argument(metavar="JOB", help="A TransferJob's name, or namespace/name.")]
Receive = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Receive there what PACSs send when they are asked by C-MOVE, such as 11112.",
        show_default=False,
    ),
]
