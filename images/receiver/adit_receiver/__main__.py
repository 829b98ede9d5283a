"""`python -m adit_receiver`: how `adit up --receive` and the receiver's pod start it."""

import sys

from adit_receiver.main import main

sys.exit(main())
