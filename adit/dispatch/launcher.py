"""The port through which the dispatcher starts and stops attempts. Implemented by `process_launcher`.

The whole contract stands here, so that another launcher (Kubernetes Jobs) needs no change above it.
Every call may be repeated, also by another dispatcher, and after a crash at any point; none waits for
a worker. What a worker achieved is never learnt here: it stands in the ledger.
"""

from __future__ import annotations

from typing import Protocol

from adit.ledger.records import Claim, RunningAttempt


class LaunchFailed(Exception):  # noqa: N818 - it says what happened
    """Raised by `launch` only when it is certain that nothing was started, and nothing will be."""


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

    def reap(self) -> None:
        """Clears away what ended workers leave behind (zombies, finished Jobs). Costs little."""
        ...
