"""`lmsd`, which waits three seconds for an answer of the TPM instead of thirty."""

from __future__ import annotations

import sys

from lms.adapters.tpm import TpmDevice
from lms.daemon import main

if __name__ == "__main__":
    TpmDevice.__init__.__kwdefaults__["deadline_s"] = 3.0
    sys.exit(main())
