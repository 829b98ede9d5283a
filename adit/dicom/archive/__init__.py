"""A folder that gets one encrypted archive for each study, as a node: a destination only.

`node` is the entrance. `draft` is an archive while it is made, `layout` says what its members are called, `proof` reads
it again; `zip_file` and `seven_zip` are the two formats, behind the port in `container`.
"""

from adit.dicom.archive.node import ArchiveNode

__all__ = ["ArchiveNode"]
