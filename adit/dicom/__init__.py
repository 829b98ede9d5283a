"""DICOM nodes behind one interface: find, fetch, store, verify, probe."""
