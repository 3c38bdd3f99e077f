"""The TPM: the only importer of tpm2_pytss (TPM 2.0 Library Parts 1 and 3, ESAPI; PROTOCOL §1, §2).

What a TPM does with keys is here; what documents say about keys is not.
"""

from __future__ import annotations

import os

os.environ.setdefault("TSS2_LOG", "all+none")  # read by libtss2 when it is loaded; else it writes to stderr

from lms.adapters.tpm.device import TpmDevice

__all__ = ["TpmDevice"]
