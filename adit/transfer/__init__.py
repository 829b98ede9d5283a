"""One task from start to end: plan, fetch, stamp, store, verify. Called by the worker (`adit_worker`)."""
