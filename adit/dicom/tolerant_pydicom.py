"""pydicom, told to judge no values: its warnings would print them, and a patient's name has no place in a log.

What peers and files hold is judged by our own code. Imported, instead of pydicom's own modules or before them, by
whatever in `adit.dicom` decodes with pydicom. The worker's usual way decodes without it: pydicom takes longer to
import than a small study to transfer.
"""

from pydicom import Dataset, config

config.settings.reading_validation_mode = config.IGNORE

__all__ = ["Dataset", "config"]
