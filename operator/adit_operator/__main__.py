"""`python -m adit_operator`: the operator's process."""

import sys

from adit_operator.main import main

sys.exit(main())
