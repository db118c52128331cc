"""How a process starts another of this project's."""

import sys

PYTHON = (sys.executable, "-P") if sys.flags.safe_path else (sys.executable,)
"""One that was told to keep its working directory off the path (-P) has children that do the same."""
