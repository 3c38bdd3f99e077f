"""What a document says, in plain values: of itself, where nothing is believed, or checked against its owner.

Needs no TPM and no state: what a person with a file asks (`lmsctl inspect`, `lmsctl verify`), whichever way he asks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from cryptography import x509

from lms.errors import BadRequest, FingerprintDiffers
from lms.model.exchange import (
    AuthorityEnrolment,
    BirthEvidence,
    EnrolmentGrant,
    EnrolmentRequest,
    PlatformEnrolment,
    RestoreAnnex,
    RestoreApproval,
    RestoreRequest,
)
from lms.model.keys import Name, digits, same_digits
from lms.model.owner import Owner, RecoverySheet
from lms.model.packages import MigratingKey, MigrationPackage, Signed
from lms.model.policies import DuplicationPolicy
from lms.model.trust import TrustList
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owned_token, read_owner
from lms.wire.certificates import identity_of
from lms.wire.document import root_name
from lms.wire.exchange_v1 import DOCUMENTS
from lms.wire.package_v1 import read_package
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.public import name_of, read_public
from lms.wire.tpm.recoverable import is_preset

Facts = dict[str, Any]

WEAKER: Final = "the owner authorisation alone takes the key out of its TPM, in the clear"
"""Of a key with the preset policy `owner`; None of all others."""


def owner_facts(owner: Owner) -> Facts:
    """Fingerprint and token of an owner."""
    return {"fingerprint": digits(owner.fingerprint), "token": owner.token_id}


def policy_facts(policy: DuplicationPolicy) -> Facts:
    """Who alone opens a key, and why it is weaker than one that we make."""
    if policy.owner_alone:
        return {"one-party": "owner-auth", "weaker": WEAKER}
    return {"one-party": "token" if policy.offline_keys else None, "weaker": None}


def package_facts(package: MigrationPackage) -> Facts:
    """What a package is, and what is in it."""
    header = package.header
    return {
        "package": str(header.package_id),
        "flow": header.flow.value,
        "created": header.created.isoformat(),
        "sequence": header.sequence,
        "platform": str(header.source.platform_id),
        "host": header.source.host_name,
        "destinations": [{"kind": d.kind.value, "id": d.identity} for d in header.destinations],
        "keys": [_key_facts(key) for key in package.migrating_keys],
        "child-keys": [{"label": c.label, "application": c.application, "owner": c.owner} for c in package.child_keys],
    }


def _key_facts(key: MigratingKey) -> Facts:
    said = {"label": key.label, "type": key.type.value, "key": key.key_id.digits}
    weaker = key.policy is not None and key.policy.owner_alone
    return {**said, "birth-evidence": key.certification is not None, "weaker": WEAKER if weaker else None}


def sheet_facts(sheet: RecoverySheet) -> Facts:
    """All that a person needs of a sheet to begin a restore, and to compare with what was written down."""
    return {
        "platform": str(sheet.platform_id),
        "owner": digits(read_owner(sheet.owner_document).fingerprint),
        "key": name_of(sheet.drsk).digits,
        **policy_facts(sheet.policy),
        "sequence": sheet.sequence,
        "authorities": [
            {"id": str(a.ma_id), "address": a.address, "vault": a.vault_name.digits} for a in sheet.authorities
        ],
    }


def drsk_facts(drsk: BirthEvidence) -> Facts:
    """The key that is to be enrolled; whether its evidence fits is judged elsewhere."""
    weaker = is_preset(read_public(drsk.public))
    return {
        "key": name_of(drsk.public).digits,
        "birth-evidence": drsk.attestation is not None,
        "weaker": WEAKER if weaker else None,
    }


def exchange_facts(value: object) -> Facts:
    """What a document between machines, authorities and the MSA is about: above all, the digits of its request."""
    match value:
        case EnrolmentRequest(platform=PlatformEnrolment() as platform):
            asked = {"request": digits(value.base.request_id), "platform": str(platform.platform_id)}
            return {**asked, **drsk_facts(platform.drsk)}
        case EnrolmentRequest(authority=AuthorityEnrolment() as authority):
            asked = {"authority": str(authority.ma_id), "mode": authority.mode.value}
            return {"request": digits(value.base.request_id), **asked, "addresses": list(authority.addresses)}
        case RestoreRequest():
            return {"request": digits(value.base.request_id), "platform": str(value.platform_id), **_package(value)}
        case EnrolmentGrant():
            return {"request": digits(value.request_id), "mode": value.mode.value, "combined": value.combined}
        case RestoreAnnex():
            return {"request": digits(value.request_id), **_package(value), "stored": value.stored.isoformat()}
        case RestoreApproval():
            return {
                "request": digits(value.request_id),
                "package": str(value.package_id),
                "not-before": value.not_before.isoformat(),
                "not-after": value.not_after.isoformat(),
                "stolen": value.stolen,
            }
        case TrustList():
            return {
                "number": value.number,
                "owner": digits(value.owner),
                "issued": value.issued.isoformat(),
                "platforms": [str(p.platform_id) for p in value.platforms],
                "authorities": [{"id": str(a.ma_id), "mode": a.mode.value} for a in value.authorities],
                "withdrawn": [w.identity.urn for w in value.withdrawn],
            }
    return {}


def _package(value: RestoreRequest | RestoreAnnex) -> Facts:
    return {} if value.package_id is None else {"package": str(value.package_id), "sequence": value.sequence}


def inspect_document(document: bytes) -> Facts:
    """What a document of ours says of itself. Raises BadRequest where it is none, DocumentError."""
    root = root_name(document)
    if root not in _READERS and root not in DOCUMENTS:
        raise BadRequest(f"cannot inspect a '{root}': it is none of our documents")
    facts, signed = _READERS[root](document) if root in _READERS else _read_exchange(root, document)
    return {"document": root, **facts} | ({} if signed is None else _unverified(signed))


def _read_exchange(root: str, document: bytes) -> tuple[Facts, Signed]:
    value, signed = DOCUMENTS[root].read(document)
    return exchange_facts(value), signed


def _read_package(document: bytes) -> tuple[Facts, Signed]:
    untrusted = read_package(document)
    return package_facts(untrusted.content), untrusted.signed


def _read_sheet(document: bytes) -> tuple[Facts, Signed]:
    sheet, signed = read_sheet(document)
    return sheet_facts(sheet), signed


_READERS: Final[Mapping[str, Callable[[bytes], tuple[Facts, Signed | None]]]] = {
    "MigrationPackage": _read_package,
    "RecoverySheet": _read_sheet,
    # These two prove themselves: who signed is in them.
    "EmergencyRecoveryToken": lambda document: (owner_facts(read_owned_token(document)[1]), None),
    "OwnerDocument": lambda document: (owner_facts(read_owner(document)), None),
}


def _unverified(signed: Signed) -> Facts:
    return {"signer": _signer(signed.certificates[0]), "verified": False}


def _signer(certificate: bytes) -> str:
    parsed = x509.load_der_x509_certificate(certificate)
    if parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        return "the owner's CA"
    return identity_of(parsed).urn


def _confirmed(package: MigrationPackage, said: str | None) -> frozenset[Name]:
    """The keys with these digits. Raises FingerprintDiffers where none has them: nobody types digits to be ignored."""
    if said is None:
        return frozenset()
    if found := frozenset(k.key_id for k in package.migrating_keys if same_digits(said, k.key_id.digest)):
        return found
    raise FingerprintDiffers("cannot trust the package: it has no key with the digits that were given")


def verify_package(document: bytes, owner: Owner, confirmed_key: str | None, now: datetime) -> Facts:
    """Every check of a package that needs no TPM. `confirmed_key`: 80 bits of its key's Name. Raises DocumentError."""
    untrusted = read_package(document).content
    trust = PackageTrust(
        owner=owner,
        now=now,
        platform_id=untrusted.header.source.platform_id,
        known_drsks=_confirmed(untrusted, confirmed_key),
    )
    verified = accept_package(document, trust)
    return {
        "document": "MigrationPackage",
        **package_facts(verified.content),
        "signer-approved": verified.approved,
        "verified": True,
    }
