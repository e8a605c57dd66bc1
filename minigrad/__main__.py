"""``python -m minigrad`` is ``minigrad``."""

import sys

from minigrad.cli import main

sys.exit(main())
