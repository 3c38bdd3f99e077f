"""What a document says, in plain values: of itself, where nothing is believed, or checked against its owner.

Needs no TPM and no state: what a person with a file asks (`lmsctl inspect`, `lmsctl verify`), whichever way he asks.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from cryptography import x509

from lms.errors import BadRequest
from lms.model.keys import digits, same_digits
from lms.model.owner import Owner, RecoverySheet
from lms.model.packages import MigrationPackage
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owned_token, read_owner
from lms.wire.certificates import identity_of
from lms.wire.document import root_name
from lms.wire.exchange_v1 import DOCUMENTS
from lms.wire.package_v1 import read_package
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.public import name_of

Facts = dict[str, Any]


def owner_facts(owner: Owner) -> Facts:
    """Fingerprint and token of an owner."""
    return {"fingerprint": digits(owner.fingerprint), "token": owner.token_id}


def package_facts(package: MigrationPackage) -> Facts:
    """What a package is, and what is in it."""
    header = package.header
    return {
        "document": "MigrationPackage",
        "package": str(header.package_id),
        "flow": header.flow.value,
        "created": header.created.isoformat(),
        "sequence": header.sequence,
        "platform": str(header.source.platform_id),
        "host": header.source.host_name,
        "destinations": [{"kind": d.kind.value, "id": d.identity} for d in header.destinations],
        "keys": [{"label": k.label, "type": k.type.value, "key": k.key_id.digits} for k in package.migrating_keys],
        "child-keys": [{"label": c.label, "application": c.application, "owner": c.owner} for c in package.child_keys],
    }


def sheet_facts(sheet: RecoverySheet) -> Facts:
    """All that a person needs of a sheet to begin a restore, and to compare with what was written down."""
    return {
        "platform": str(sheet.platform_id),
        "owner": digits(read_owner(sheet.owner_document).fingerprint),
        "key": name_of(sheet.drsk).digits,
        "one-party": "token" if sheet.policy.offline_keys else None,
        "sequence": sheet.sequence,
        "authorities": [
            {"id": str(a.ma_id), "address": a.address, "vault": a.vault_name.digits} for a in sheet.authorities
        ],
    }


def inspect_document(document: bytes) -> Facts:
    """What a document of ours says of itself. Raises BadRequest where it is none, DocumentError."""
    root = root_name(document)
    if root == "MigrationPackage":
        untrusted = read_package(document)
        facts = package_facts(untrusted.content)
        signer = untrusted.signed.certificates[0]
    elif root == "EmergencyRecoveryToken":
        return {"document": root, **owner_facts(read_owned_token(document)[1])}
    elif root == "OwnerDocument":
        return {"document": root, **owner_facts(read_owner(document))}
    elif root == "RecoverySheet":
        sheet, signed = read_sheet(document)
        facts = {"document": root, **sheet_facts(sheet)}
        signer = signed.certificates[0]
    elif root in DOCUMENTS:
        _, signed = DOCUMENTS[root].read(document)
        facts, signer = {"document": root}, signed.certificates[0]
    else:
        raise BadRequest(f"cannot inspect a '{root}': it is none of our documents")
    return {**facts, "signer": _signer(signer), "verified": False}


def _signer(certificate: bytes) -> str:
    parsed = x509.load_der_x509_certificate(certificate)
    if parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        return "the owner's CA"
    return identity_of(parsed).urn


def verify_package(document: bytes, owner: Owner, confirmed_key: str | None, now: datetime) -> Facts:
    """Every check of a package that needs no TPM. `confirmed_key`: 80 bits of its key's Name. Raises DocumentError."""
    untrusted = read_package(document).content
    trust = PackageTrust(
        owner=owner,
        now=now,
        platform_id=untrusted.header.source.platform_id,
        known_drsks=frozenset(
            k.key_id
            for k in untrusted.migrating_keys
            if confirmed_key is not None and same_digits(confirmed_key, k.key_id.digest)
        ),
    )
    verified = accept_package(document, trust)
    return {**package_facts(verified.content), "approved": verified.approved, "verified": True}
