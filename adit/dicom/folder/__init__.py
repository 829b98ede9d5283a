"""A folder of DICOM files as a node: searched by its headers, written by upstream's naming rules.

`node` is the entrance; `naming` and `placement` say where an instance goes, `catalogue` and `answers`
what a folder holds, `channel` writes and `proof` reads again.
"""

from adit.dicom import tolerant_pydicom  # noqa: F401 - before any module here imports pydicom
from adit.dicom.folder.naming import Filing, JobFolder, StudyFacts
from adit.dicom.folder.node import FolderNode

__all__ = ["Filing", "FolderNode", "JobFolder", "StudyFacts"]
