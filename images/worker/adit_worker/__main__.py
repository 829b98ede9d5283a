"""`python -m adit_worker`: how launchers start a worker."""

import gc
import os
import sys

from adit_worker.stop import take_signals

take_signals()
gc.disable()  # nothing that is imported is garbage: looking for some would only delay the start
os.environ["PYDANTIC_DISABLE_PLUGINS"] = "__all__"  # to look for some it would read every package's metadata
from adit_worker.main import main  # noqa: E402

gc.freeze()
gc.enable()
sys.exit(main())
