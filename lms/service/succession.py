"""A TPM takes a platform over by token: what the authorities have to know of it, asked for and taken (PROTOCOL §7, §8).

The token is open anyway. So this machine asks the owner's MSA as `enroll msa` does, and the answer comes with the
keys: it stands in the state as soon as they do. The authorities see it with the next package (`lms.service.archive`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from uuid import UUID

from lms.errors import BadRequest, NotEnrolled
from lms.model.exchange import EnrolmentGrant
from lms.model.owner import Owner
from lms.model.platform import Birth, Enrolment, PlatformState, SigningKey
from lms.model.release import Succession
from lms.model.secret import Secret
from lms.model.trust import Identity, Pair, Role, TrustList
from lms.service.certified import certificate_for, open_certificates
from lms.service.enrolment import Applicant, make_request
from lms.service.installing import Credentials
from lms.service.setting import PreparedTpm, Setting
from lms.service.signing import PlatformSigner
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.request_proofs import NONCE_SIZE


@dataclass(frozen=True, slots=True)
class Successor:
    """The TPM that takes a platform over, with its new signing key; `drsk` is TPM2B_PUBLIC."""

    platform_id: UUID
    drsk: bytes
    birth: Birth | None
    tpm: PreparedTpm
    srk_handle: int
    signing_key: SigningKey

    @property
    def pair(self) -> Pair:
        """What the trust list will name."""
        return Pair(self.tpm.ek_name, self.tpm.srk_name)

    def succeeds(self, state: PlatformState | None, listed: TrustList) -> bool:
        """Whether it takes the place of another TPM: now, or since a restore that no archive has confirmed yet."""
        if state is None:
            platform = listed.platform(self.platform_id)
            return platform is not None and self.pair not in platform.pairs
        return self.pair != _pair_of(state) or state.confirmed_list is not None

    def request(self, setting: Setting, listed: TrustList) -> tuple[bytes, bytes]:
        """Its signed EnrolmentRequest, and the RequestID."""
        tpm = self.tpm
        applicant = Applicant(
            platform_id=self.platform_id,
            nonce=secrets.token_bytes(NONCE_SIZE),
            ek=next(k for k in setting.tpm.endorsement_keys() if k.public == tpm.ek),
            srk=tpm.srk,
            ak=tpm.ak,
            signer=PlatformSigner(setting.tpm, self.srk_handle, self.signing_key),
            drsk=self.drsk,
            birth=self.birth,
            trust_list_number=listed.number,
        )
        return make_request(setting.tpm, applicant)

    def credentials(
        self, setting: Setting, succession: Succession, owner: Owner, endorsement_auth: Secret
    ) -> Credentials:
        """The certificates of the grant, which this chip alone opens, and its lists. Raises UntrustedSigner."""
        grant, _ = ENROLMENT_GRANT.read(succession.grant)
        assert isinstance(grant, EnrolmentGrant)
        assert grant.sheet is not None  # every platform's has one
        found = open_certificates(setting.tpm, self.tpm.ek_name, grant.certificates, endorsement_auth)
        certified = certificate_for(self.signing_key.key.public, found, self.platform_id, owner)
        return Credentials(
            replace(self.signing_key, certificate=certified),
            grant.trust_list,
            Enrolment(certificate_for(self.tpm.ak, found, self.platform_id, owner), grant.sheet),
            succession.confirmed,
        )


def _pair_of(state: PlatformState) -> Pair:
    return Pair(state.ek_name, state.srk_name)


def approved_list(known: TrustList | None, platform_id: UUID) -> TrustList | None:
    """The list to go on from; None where there is none, or where the owner withdrew the platform.

    A number is given out after a known one only. What was withdrawn is not enrolled again, but the token still opens
    its packages.
    """
    if known is None or known.withdrawn_since(Identity(Role.PLATFORM, platform_id)) is not None:
        return None
    return known


def check_retirable(known: TrustList | None, platform_id: UUID) -> None:
    """That stolen TPMs stay approved must not be found out later. Raises NotEnrolled."""
    if approved_list(known, platform_id) is None:
        raise NotEnrolled("cannot retire the other TPMs: no trust list is known here that lets this one be enrolled")


def check_retired(state: PlatformState, known: TrustList | None) -> None:
    """The same where nothing is to be restored, so that nothing is signed. Raises BadRequest."""
    platform = None if known is None else known.platform(state.platform_id)
    if platform is None or platform.pairs != (_pair_of(state),):
        how = f"`lms-authority withdraw platform:{state.platform_id} --pair DIGITS` retires one"
        raise BadRequest(f"cannot retire the other TPMs: nothing is to be restored here; {how}")
