"""What may be told about an exception that nobody expected: its type and its place, never its text.

The text, or a value in the traceback, may hold patient data. Called by `attempt` and by the worker.
"""

from __future__ import annotations

from adit.discretion import places_of
from adit.model.outcome import Fault, FaultCode


def bug_fault(error: BaseException) -> Fault:
    """The fault UNEXPECTED that stands for the exception."""
    return Fault(
        code=FaultCode.UNEXPECTED,
        message=f"{type(error).__name__} at {' in '.join(reversed(places_of(error)[-4:])) or 'an unknown place'}.",
        cure="This is a defect of ADIT: report it with the worker's log of this attempt.",
    )
