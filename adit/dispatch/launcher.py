"""The port through which the dispatcher starts and stops attempts. Implemented by `process_launcher`.

The whole contract stands here, so that another launcher (Kubernetes Jobs) needs no change above it.
Every call may be repeated, also by another dispatcher, and after a crash at any point; none waits for
a worker. What a worker achieved is never learnt here: it stands in the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from adit.ledger.records import Claim, EndedAttempt, RunningAttempt
from adit.model.outcome import Fault


class LaunchFailed(Exception):  # noqa: N818 - it says what happened
    """Raised by `launch` only when it is certain that nothing was started, and nothing will be."""

    def __init__(self, message: str, fault: Fault | None = None) -> None:
        """`fault` says why, where the launcher knows it."""
        super().__init__(message)
        self.fault = fault


class StillEnding(Exception):  # noqa: N818 - a state, not a mistake
    """The worker has written its last word and is just about to be gone: ask again soon."""


class Launcher(Protocol):
    def launch(self, claim: Claim) -> None:
        """Starts a worker for the claimed attempt, if this launcher has not done so already.

        On return a worker has been started, or it is unknown whether one was: then the attempt's
        lease decides. Raises LaunchFailed when none was. The worker gets the attempt's id and token
        and nothing else of the assignment, which it reads from the ledger.
        """
        ...

    def stop(self, attempt: RunningAttempt) -> None:
        """Asks the attempt's worker to end soon and to report (SIGTERM, or deletion with grace).

        On return the request is on its way to a worker that can be found; nothing happens if there
        is none.
        """
        ...

    def kill(self, attempt: RunningAttempt) -> None:
        """Ends the attempt's worker without asking (SIGKILL, or deletion without grace).

        Afterwards `alive` becomes False soon, or stays None where the worker cannot be found. Never
        touches a process that is not this attempt's, even if it has the same id by now.
        """
        ...

    def alive(self, attempt: RunningAttempt) -> bool | None:
        """Whether the attempt's worker runs; None if that cannot be told from here.

        False is a promise: it ran, or was started by this launcher, and will write nothing more to
        the ledger. It may have written its report just before.
        """
        ...

    def epitaph(self, attempt: RunningAttempt) -> Fault | None:
        """Why an attempt ended that has no report, as far as the place where it ran can tell; else None.

        Asked only after `alive` was False for it, or about to be declared lost for its silence.
        """
        ...

    def interruption(self, ended: EndedAttempt) -> Fault | None:
        """Why a worker that nobody of us told to stop was, if the place where it ran can tell; else None.

        Asked of attempts that reported INTERRUPTED. Raises StillEnding while that is not known yet.
        """
        ...

    def closed(self) -> frozenset[str]:
        """The namespaces in which nothing can be started for now, so that nothing is claimed there. Costs nothing."""
        ...

    def own(self) -> frozenset[int]:
        """The attempts whose workers this very launcher started, and that may still run. Asks no ledger."""
        ...

    def stop_own(self) -> None:
        """As `stop`, for each of `own`: needs nothing but what this launcher itself remembers.

        On return every one of them that runs has been asked to end, also while the ledger is away.
        """
        ...

    def kill_own(self) -> None:
        """As `kill`, for each of `own`; they leave `own` soon."""
        ...

    def reap(self, running: Sequence[RunningAttempt]) -> None:
        """Looks after what was launched and clears away what ended workers leave behind (zombies, finished Jobs).

        Called once in each step with all attempts that the ledger calls running, before anything is asked
        about one of them: what is not among them has ended, or has just been launched. Costs little.
        """
        ...
