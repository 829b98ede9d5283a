"""So many of something, in a message for people. Called by whoever counts in one."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 instance`, `2 instances`; nouns whose plural is one letter longer."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
