"""The paths of /v1, a module for each noun. Assembled by `adit_api.app`."""
