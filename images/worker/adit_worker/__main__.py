"""`python -m adit_worker`: how launchers start a worker."""

import gc
import sys

gc.disable()  # nothing that is imported is garbage: looking for some would only delay the start
from adit_worker.main import main  # noqa: E402

gc.freeze()
gc.enable()
sys.exit(main())
