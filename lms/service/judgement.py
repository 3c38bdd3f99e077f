"""What the MSA judges of everybody who asks, and what each of its answers carries (PROTOCOL §5, §6; DESIGN §3).

Shared by grants and approvals. The requester's own proofs are `lms.wire.request_proofs`; what is particular to an
enrolment or a restore is `lms.service.granting` and `lms.service.approving`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from cryptography import x509

from lms.errors import DigitsDiffer, EkUntrusted, LmsError, PolicyMismatch, RegisterStale, TakeOver, TrustListConflict
from lms.model.exchange import EncryptedCertificates
from lms.model.keys import Name, same_digits
from lms.model.owner import Owner, RecoverySheet, SheetAuthority
from lms.model.policies import DuplicationPolicy
from lms.model.secret import Secret
from lms.model.trust import Identity, Pair, Role, TrustedAuthority, TrustList
from lms.wire.certificates import issue
from lms.wire.content import KEY_SIZE, NONCE_SIZE, encrypt
from lms.wire.endorsement import check_endorsement_key
from lms.wire.exchange_v1 import TRUST_LIST, CertificateBundle, write_bundle
from lms.wire.seed import OwnerKeys
from lms.wire.signature import Signer, sign
from lms.wire.token_v1 import SHEET_KIND, write_sheet
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.public import ec_public_key, name_of, read_public
from lms.wire.tpm.recoverable import policy_under
from lms.wire.trust_list import read_trust_list

# What the schema of a sheet allows, and the bytes that signing it takes at most.
_WAYS_MAX: Final = 16
_SIGNATURE: Final = 2048


def judge_digits(said: str, request_id: bytes) -> None:
    """Raise DigitsDiffer unless the approver has the digits of this very request from the machine."""
    if not same_digits(said, request_id):
        raise DigitsDiffer("cannot approve: the request's digits are not those given")


def open_register(trust_list: bytes | None, owner: Owner, seen: int, now: datetime) -> TrustList:
    """The newest trust list that the approver keeps; number 0 and empty before the first.

    `seen` is the newest number that the requester knows. Raises RegisterStale where that is higher, and the errors
    of `read_trust_list`.
    """
    empty = TrustList(0, owner.fingerprint, now, (), (), (), ())
    known = empty if trust_list is None else read_trust_list(trust_list, owner)
    if seen > known.number:
        raise RegisterStale(f"cannot approve: trust list {seen} is known elsewhere, the one here is {known.number}")
    return known


def next_trust_list(known: TrustList, changed: TrustList, now: datetime) -> TrustList:
    """`changed` under the next number; the same object as `known` where nothing changed.

    Raises TrustListConflict, TakeOver.
    """
    if changed == known:
        return known
    _judge_apart(changed)
    if now < known.issued:
        raise TrustListConflict("cannot sign a trust list: the clock is behind the newest one")
    return replace(changed, number=known.number + 1, issued=now)


def _judge_apart(changed: TrustList) -> None:
    # Outer and inner wrap would meet at one key: what is released to that platform, its authority opens alone.
    vaults = {name_of(authority.vault) for authority in changed.authorities}
    if any(pair.srk_name in vaults for platform in changed.platforms for pair in platform.pairs):
        raise TakeOver("cannot approve: one key would be an authority's vault and a platform's SRK")


def _roots(certificates: Sequence[bytes]) -> tuple[list[x509.Certificate], list[x509.Certificate]]:
    parsed = [x509.load_der_x509_certificate(c) for c in certificates]
    return [c for c in parsed if c.issuer == c.subject], [c for c in parsed if c.issuer != c.subject]


def judge_genuine(
    ek: bytes, certificates: Sequence[bytes], ek_roots: Sequence[bytes], known: TrustList, now: datetime
) -> None:
    """Raise EkUntrusted unless the trust list vouches for the EK or one of its certificates leads to `ek_roots`.

    All DER, the EK TPM2B_PUBLIC.
    """
    if ek in known.vouched_eks:
        return
    roots, intermediates = _roots(ek_roots)
    refusal: LmsError = EkUntrusted("cannot approve: the request carries no certificate of its EK")
    for certificate in certificates:
        try:
            check_endorsement_key(ek, certificate, roots, intermediates, now)
        except EkUntrusted as error:
            refusal = error
        else:
            return
    raise refusal


def with_vouched(known: TrustList, ek: bytes) -> TrustList:
    """The trust list in which the MSA answers for an EK itself; the same object where it does already."""
    return known if ek in known.vouched_eks else replace(known, vouched_eks=(*known.vouched_eks, ek))


def with_pair(pairs: tuple[Pair, ...], pair: Pair, stolen: bool) -> tuple[Pair, ...]:
    """The TPMs of a platform with one more; it alone, where the others were stolen."""
    if stolen:
        return (pair,)
    return pairs if pair in pairs else (*pairs, pair)


def owner_policy(drsk: bytes, owner: Owner) -> DuplicationPolicy:
    """The branches of a DRSK (TPM2B_PUBLIC) as this owner has them, or the preset, which no owner has a part in.

    Raises PolicyMismatch.
    """
    policy = policy_under(read_public(drsk), owner)
    if policy is None:
        raise PolicyMismatch("cannot approve: DRSK does not have a policy of this owner")
    return policy


def make_sheet(platform_id: UUID, drsk: bytes, owner: Owner, listed: TrustList, sequence: int) -> RecoverySheet:
    """The recovery sheet of a platform with the MAs of a trust list, at every address that there is room for.

    Raises PolicyMismatch.
    """
    sheet = RecoverySheet(
        platform_id=platform_id,
        owner_document=owner.document,
        policy=owner_policy(drsk, owner),
        authorities=_ways(listed.standing_authorities)[:_WAYS_MAX],
        drsk=drsk,
        sequence=sequence,
    )
    while len(write_sheet(sheet)) + _SIGNATURE > SHEET_KIND.max_bytes:
        sheet = replace(sheet, authorities=sheet.authorities[:-1])
    return sheet


def _ways(authorities: tuple[TrustedAuthority, ...]) -> tuple[SheetAuthority, ...]:
    """The first address of each authority before the second of any: where room is short, each has one."""
    ranks = max((len(a.addresses) for a in authorities), default=0)
    return tuple(
        SheetAuthority(a.ma_id, a.addresses[rank], name_of(a.vault))
        for rank in range(ranks)
        for a in authorities
        if rank < len(a.addresses)
    )


def encrypt_certificates(certificates: tuple[bytes, ...], ek: bytes, beside: Name) -> EncryptedCertificates:
    """Certificates (DER) that only the chip of the EK opens, and only where it holds the key named `beside`."""
    key = Secret(secrets.token_bytes(KEY_SIZE))
    return EncryptedCertificates(
        make_credential(ek, key.reveal(), beside),
        encrypt(key, secrets.token_bytes(NONCE_SIZE), write_bundle(CertificateBundle(certificates))),
    )


def issue_platform(
    platform_id: UUID, signing_key: bytes, ak: bytes, owner: Owner, keys: OwnerKeys, now: datetime
) -> tuple[bytes, bytes]:
    """Certificates (DER) for a platform's signing key and AK, both TPM2B_PUBLIC."""
    identity = Identity(Role.PLATFORM, platform_id)
    made = [
        issue(identity, ec_public_key(read_public(public)), owner.ca_certificate, keys.ca, now, attestation=attests)
        for public, attests in ((signing_key, False), (ak, True))
    ]
    return made[0], made[1]


def sign_trust_list(listed: TrustList, known: TrustList, document: bytes | None, signer: Signer) -> bytes:
    """The signed trust list: `document`, whose content is `known`, unless there is a next one."""
    if document is not None and listed is known:
        return document
    return sign(TRUST_LIST.write(listed), signer)
