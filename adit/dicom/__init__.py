"""DICOM nodes behind one interface: find, fetch, store, verify, probe.

What peers and files hold is judged by our own code: pydicom's warnings about values would print the
values, and a patient's name has no place in a log.
"""

from pydicom import config

config.settings.reading_validation_mode = config.IGNORE
