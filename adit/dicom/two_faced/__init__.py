"""A PACS that speaks DIMSE and DICOMweb: one node with two faces, and whatever works best of either."""
