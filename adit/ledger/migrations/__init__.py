"""The schema's history, run by `adit.ledger.migration`."""
