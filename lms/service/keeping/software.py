"""`lms.ports.VaultKey` in software: as blind as a TPM's, but whoever copies the disk has it (DESIGN §3)."""

from __future__ import annotations

from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.tpm import OuterWrap
from lms.wire.private_keys import read_private_key
from lms.wire.tpm.public import recovery_public
from lms.wire.tpm.wrap import rewrap


class SoftwareVaultKey:
    """A vault key from PKCS#8 DER."""

    def __init__(self, private: Secret) -> None:
        self._key = read_private_key(private)
        self.public = recovery_public(self._key.public_key())

    def rewrap(self, key_id: Name, outer: OuterWrap, new_parent: bytes) -> OuterWrap:
        """TPM2_Rewrap in software. Raises BlobRefused."""
        return rewrap(self._key, self.public, new_parent, key_id, outer)
