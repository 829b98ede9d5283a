"""Which attributes are there to say who the patient is.

What `identifiers` searches for are their values; by them `policy` tells what a site that keeps them keeps on purpose.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = frozenset({0x00100010, 0x00101001, 0x00101005, 0x00101060})  # PatientName and other names
PATIENT_ID: Final = 0x00100020
OTHER_PATIENT_IDS: Final = 0x00101000
OTHER_IDS: Final = 0x00101002  # a sequence, with a PatientID in each of its items
TELEPHONES: Final = 0x00102154
TELECOM: Final = 0x00102155  # PatientTelecomInformation
NUMBERS: Final = frozenset({0x00080050, PATIENT_ID, OTHER_PATIENT_IDS, 0x00101090, TELEPHONES, 0x00380010})
INSTITUTION: Final = frozenset({0x00080080, 0x00080081})  # InstitutionName, InstitutionAddress
ADDRESS: Final = 0x00101040
BIRTH_DATE: Final = 0x00100030
STUDY_DATE: Final = 0x00080020
"""Looked for as well, though it tells nobody's name: with it, whatever was shifted can be shifted back."""
UIDS: Final = frozenset({0x00080018, 0x0020000D, 0x0020000E})

IDENTITY: Final = NAMES | {PATIENT_ID, OTHER_PATIENT_IDS, OTHER_IDS, 0x00101090, TELEPHONES, TELECOM, ADDRESS}
"""What says outright who someone is: names, the patient's own numbers, address and telephone."""

IDENTIFYING: Final = NAMES | NUMBERS | UIDS | INSTITUTION | {ADDRESS, BIRTH_DATE, OTHER_IDS, TELECOM}
"""The top-level elements of the original that are looked at."""
