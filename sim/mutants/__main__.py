"""The command: see ``python -m superlip.sim.mutants --help``."""

import sys

from .command import main

sys.exit(main())
