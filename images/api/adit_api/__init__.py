"""The facade: creates resources over REST, reports from the ledger; holds no state."""
