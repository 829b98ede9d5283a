"""A folder of DICOM files as a node: searched by its headers, written by upstream's naming rules.

`node` is the entrance; `naming` and `placement` say where an instance goes, `catalogue` and `answers`
what a folder holds, `channel` writes and `proof` reads again.
"""

from pydicom import config

from adit.dicom.folder.naming import JobFolder, StudyFacts
from adit.dicom.folder.node import FolderNode

# Files are taken as they are; pydicom's warnings about odd values would print the values.
config.settings.reading_validation_mode = config.IGNORE

__all__ = ["FolderNode", "JobFolder", "StudyFacts"]
