"""`python -m musterd.ctl` is the same as `musterctl`."""

import sys

from musterd.ctl.main import main

sys.exit(main())
