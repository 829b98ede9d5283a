"""The transfer syntaxes that are not little endian with explicit VRs and nothing else (PS3.5 annex A), and that one.

Told apart by `instance` and `irregular`."""

from __future__ import annotations

from typing import Final

IMPLICIT_LE: Final = "1.2.840.10008.1.2"
EXPLICIT_LE: Final = "1.2.840.10008.1.2.1"
DEFLATED: Final = "1.2.840.10008.1.2.1.99"
EXPLICIT_BE: Final = "1.2.840.10008.1.2.2"
