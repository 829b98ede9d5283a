"""`python -m adit_api`."""

from __future__ import annotations

import sys

from adit_api.main import main

sys.exit(main())
