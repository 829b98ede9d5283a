"""The `adit` command: try it, run it without a cluster, migrate, generate the CRDs."""
