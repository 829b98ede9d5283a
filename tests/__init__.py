"""Tests of ADIT: `unit` needs no servers, `integration` and `faults` start real ones from `peers`."""
