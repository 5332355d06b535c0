"""`python -m aajax`."""

import sys

from aajax.cli import main

sys.exit(main())
