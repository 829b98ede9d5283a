"""ADIT moves medical imaging studies between systems that speak DICOM, provably complete."""
