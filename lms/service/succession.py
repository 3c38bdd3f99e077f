"""A TPM takes a platform over by token: what the authorities have to know of it, asked for and taken (PROTOCOL §7, §8).

The token is open anyway. So this machine asks the owner's MSA as `enroll msa` does, and the answer comes with the
keys: it stands in the state as soon as they do. The authorities see it with the next package (`lms.service.archive`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from uuid import UUID

from cryptography.hazmat.primitives.serialization import Encoding

from lms.errors import BadRequest, NotEnrolled
from lms.model.exchange import EnrolmentGrant
from lms.model.keys import digits
from lms.model.owner import Owner
from lms.model.platform import Enrolment, PlatformState, SigningKey
from lms.model.release import EnrolmentOrder, Succession
from lms.model.secret import Secret
from lms.model.trust import Identity, Pair, Role, TrustList
from lms.service.certified import certificate_for, open_certificates
from lms.service.diagnosis import Reason
from lms.service.enroll import trust_list_of
from lms.service.enrolment import Applicant, make_request
from lms.service.installing import Credentials
from lms.service.setting import PreparedTpm, Setting
from lms.service.signing import PlatformSigner
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.request_proofs import NONCE_SIZE


@dataclass(frozen=True, slots=True)
class Successor:
    """The TPM that takes over, and its new signing key."""

    tpm: PreparedTpm
    srk_handle: int
    signing_key: SigningKey

    @property
    def pair(self) -> Pair:
        """What the trust list will name."""
        return Pair(self.tpm.ek_name, self.tpm.srk_name)

    def succeeds(self, state: PlatformState | None) -> bool:
        """Whether it takes the place of another TPM: now, or since a restore that no archive has confirmed yet."""
        return state is not None and (self.pair != pair_of(state) or state.confirmed_list is not None)


def pair_of(state: PlatformState) -> Pair:
    """The TPM that a state records."""
    return Pair(state.ek_name, state.srk_name)


def _approved(state: PlatformState | None) -> TrustList | None:
    """The list to go on from; None where none is known, or where the owner withdrew the platform.

    A withdrawn platform is not enrolled again, but its keys come back by token.
    """
    trusted = None if state is None else trust_list_of(state)
    if state is None or trusted is None:
        return None
    withdrawn = trusted.withdrawn_since(Identity(Role.PLATFORM, state.platform_id))
    return trusted if withdrawn is None else None


def check_retirable(state: PlatformState | None, reason: Reason) -> None:
    """That stolen TPMs stay approved must not be found out later. Raises NotEnrolled, BadRequest."""
    trusted = _approved(state)
    if state is None or trusted is None:
        raise NotEnrolled("cannot retire the other TPMs: this machine has no trust list that lets it be enrolled")
    platform = trusted.platform(state.platform_id)
    if reason is Reason.INTACT and platform is not None and platform.pairs != (pair_of(state),):
        how = f"`lms-authority withdraw platform:{state.platform_id} --pair DIGITS` retires one"
        raise BadRequest(f"cannot retire the other TPMs: nothing is to be restored here; {how}")


def succession_order(
    setting: Setting, state: PlatformState | None, successor: Successor, *, vouch: bool, stolen: bool
) -> EnrolmentOrder | None:
    """What the token has to sign so that the authorities know this TPM; None where it cannot be enrolled so.

    A number of a trust list is given out from a known one only: without one the owner enrols the machine later.
    """
    trusted = _approved(state)
    if state is None or trusted is None:
        return None
    drsk = state.require_drsk()
    ek = next(k for k in setting.tpm.endorsement_keys() if k.public == successor.tpm.ek)
    applicant = Applicant(
        platform_id=state.platform_id,
        nonce=secrets.token_bytes(NONCE_SIZE),
        ek=ek,
        srk=successor.tpm.srk,
        ak=successor.tpm.ak,
        signer=PlatformSigner(setting.tpm, successor.srk_handle, successor.signing_key),
        drsk=drsk.key.public,
        birth=drsk.birth,
        trust_list_number=trusted.number,
    )
    request, request_id = make_request(setting.tpm, applicant)
    return EnrolmentOrder(
        request=request,
        digits=digits(request_id),
        ek_roots=tuple(c.public_bytes(Encoding.DER) for c in (*setting.ek_roots, *setting.ek_intermediates)),
        vouch=vouch,
        trust_list=state.trust_list,
        now=setting.now(),
        replacement=True,
        stolen=stolen,
    )


def taken(
    setting: Setting,
    succession: Succession,
    platform_id: UUID,
    owner: Owner,
    successor: Successor,
    endorsement_auth: Secret,
) -> Credentials:
    """The certificates of the grant, which this chip alone opens, and its lists. Raises UntrustedSigner."""
    grant, _ = ENROLMENT_GRANT.read(succession.grant)
    assert isinstance(grant, EnrolmentGrant)
    assert grant.sheet is not None  # every platform's has one
    signing_key = successor.signing_key
    certificates = open_certificates(setting.tpm, successor.tpm.ek_name, grant.certificates, endorsement_auth)
    certified = certificate_for(signing_key.key.public, certificates, platform_id, owner)
    return Credentials(
        replace(signing_key, certificate=certified),
        grant.trust_list,
        Enrolment(certificate_for(successor.tpm.ak, certificates, platform_id, owner), grant.sheet),
        succession.confirmed,
    )
