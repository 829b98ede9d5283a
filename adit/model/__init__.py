"""The nouns of ADIT as immutable values. No I/O here; every other floor imports these."""
