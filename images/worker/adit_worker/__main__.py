"""`python -m adit_worker`: how launchers start a worker."""

import sys

from adit_worker.main import main

sys.exit(main())
