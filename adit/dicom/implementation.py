"""Who we are to other DICOM implementations, in negotiation and in file meta information (PS3.7 D.3.3.2)."""

from typing import Final

IMPLEMENTATION_CLASS_UID: Final = "2.25.314074290978753660764886002036218312103"
IMPLEMENTATION_VERSION_NAME: Final = "ADIT"
