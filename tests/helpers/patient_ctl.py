"""musterctl with the patience that a test has: `python -m helpers.patient_ctl`."""

import sys

from helpers.patience import be_patient_as_musterctl
from musterd.ctl.main import main

if __name__ == "__main__":
    be_patient_as_musterctl()
    sys.exit(main())
