"""`python -m musterd` is the same as `musterd`."""

import sys

from musterd.main import main

sys.exit(main())
