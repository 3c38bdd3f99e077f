"""The platform signing key: made below the SRK, used to sign packages and requests (PROTOCOL §1, §5)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from lms.model.platform import PlatformState, SigningKey
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.ports import Tpm
from lms.service.setting import NO_SECRET
from lms.wire.certificates import TpmBackedKey, self_issue
from lms.wire.tpm.public import ec_public_key, read_public, signing_template

_AUTH_SIZE = 32


def make_signing_key(tpm: Tpm, srk_handle: int, platform_id: UUID, now: datetime) -> SigningKey:
    """A new signing key with a random authorisation, under a self-issued certificate."""
    auth = Secret(tpm.random(_AUTH_SIZE))
    key = tpm.create(srk_handle, signing_template(), auth=auth, data=NO_SECRET)
    public = ec_public_key(read_public(key.public))
    private = TpmBackedKey(public, lambda digest: tpm.sign(srk_handle, key, auth, digest))
    return SigningKey(key, auth, self_issue(Identity(Role.PLATFORM, platform_id), private, now))


@dataclass(frozen=True, slots=True)
class PlatformSigner:
    """`lms.wire.signature.Signer` by a platform's signing key."""

    tpm: Tpm
    srk_handle: int
    signing_key: SigningKey
    ak_certificate: bytes | None = None

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """The platform's certificate, then the AK's in what an approved platform signs."""
        return (self.signing_key.certificate, *(() if self.ak_certificate is None else (self.ak_certificate,)))

    def sign(self, digest: bytes) -> bytes:
        """TPMT_SIGNATURE over a 32-byte digest."""
        return self.tpm.sign(self.srk_handle, self.signing_key.key, self.signing_key.auth, digest)


def signer_of(tpm: Tpm, state: PlatformState) -> PlatformSigner:
    """The signer of a platform that has a signing key."""
    ak_certificate = None if state.enrolment is None else state.enrolment.ak_certificate
    return PlatformSigner(tpm, state.srk_handle, state.require_signing_key(), ak_certificate)
