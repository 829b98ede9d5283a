"""Whose an instance is. Found by `instance` before anything is changed."""

from __future__ import annotations

from dataclasses import dataclass

from adit.deid.engine.values import Subject


@dataclass(frozen=True, slots=True)
class Patient:
    """Whose an instance is, and which one it was."""

    subject: Subject
    charset: tuple[str, ...]
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    study_instance_uid: str
