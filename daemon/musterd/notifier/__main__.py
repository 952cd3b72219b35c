"""`python -m musterd.notifier` is the same as `musterd-notify`."""

import sys

from musterd.notifier.main import main

sys.exit(main())
