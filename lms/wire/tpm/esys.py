"""ESYS_TR serialisation of a persistent key (TCG TSS 2.0 ESAPI, Esys_TR_Serialize, as tpm2-tss writes it)."""

from __future__ import annotations

from typing import Final

from lms.wire.tpm.marshal import Writer
from lms.wire.tpm.public import name_of

_ESYS_KEY: Final = 1  # IESYSC_KEY_RSRC


def serialized_handle(handle: int, public: bytes) -> bytes:
    """What it gives for `handle` with TPM2B_PUBLIC `public`: `tpm2_srk` of systemd's LUKS tokens."""
    return bytes(Writer().u32(handle).sized(name_of(public)).u32(_ESYS_KEY).raw(public))
