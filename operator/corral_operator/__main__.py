"""`python -m corral_operator` is `corral operator`."""

import sys

from corral.cli import main

sys.exit(main(["operator", *sys.argv[1:]]))
