"""A bucket of DICOM files behind the S3 API as a node: searched as a folder is, written under keys made of UIDs.

`node` is the entrance. `bucket` is all that speaks to the server, `client` connects, `faults` says what its errors
mean. `naming` says where an instance goes, `channel` writes and `proof` asks again; `catalogue` knows what a bucket
holds and `retrieval` fetches it. How a DICOM file is laid out and how its header answers a query is the same as in a
folder, and comes from there.
"""

from adit.dicom import tolerant_pydicom  # noqa: F401 - before any module here imports pydicom
from adit.dicom.s3.node import S3Node

__all__ = ["S3Node"]
