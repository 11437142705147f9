"""`python -m corral` is `corral`."""

import sys

from corral.cli import main

sys.exit(main())
