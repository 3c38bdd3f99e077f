"""Vector files: readable header lines `key: value`, an empty line, the exact bytes of one document.

`comment`, `expect` (`accepted` or the name of an error) and `document` (how to judge it) are always there. What
else the judgement needs: `owner` and `trust-list` (base64 of signed documents), `now`, `platform`, `parent`,
`sequence`, `known-drsk`, `recovery-scalar` and `vault-scalar` (of an owner and an authority that exist for vectors
only), `authority`, and `chip`: the TPM whose state of this name lies in `states`, to which a package was released.
"""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from lms.model.keys import SRK_HANDLE, Name
from lms.model.secret import Secret
from lms.model.trust import Role
from lms.service.setting import NO_SECRET
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import read_owned_token, read_owner
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.content import decrypt
from lms.wire.enrolment import read_authority_enrolment, read_platform_enrolment
from lms.wire.exchange_v1 import DOCUMENTS, read_bundle
from lms.wire.restoration import read_released_package, read_restore_approval, read_restore_request
from lms.wire.signature import verify
from lms.wire.tls import judge_tls
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.public import name_of, recovery_public
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from tests.support.chips import frozen_chip

FOLDER = Path(__file__).parents[1] / "vectors"
_REQUESTS: Final = {
    "authority-enrolment": read_authority_enrolment,
    "platform-enrolment": read_platform_enrolment,
    "restore-request": read_restore_request,
}
SIGNERS = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


def write_vector(header: dict[str, str], document: bytes) -> bytes:
    """The bytes of a vector file."""
    lines = "".join(f"{key}: {value}\n" for key, value in header.items())
    return lines.encode() + b"\n" + document


def read_vector(path: Path) -> tuple[dict[str, str], bytes]:
    """Header and document of a vector file."""
    head, _, document = path.read_bytes().partition(b"\n\n")
    return dict(line.split(": ", 1) for line in head.decode().splitlines()), document


def _trust(header: dict[str, str]) -> PackageTrust:
    name = header.get("parent")
    known = header.get("known-drsk")
    sequence = header.get("sequence")
    withdrawn = header.get("trust-list")
    return PackageTrust(
        owner=read_owner(base64.b64decode(header["owner"])),
        now=datetime.strptime(header["now"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC),
        platform_id=UUID(header["platform"]),
        parent=None if name is None else Name.from_text(name),
        highest_sequence=None if sequence is None else int(sequence),
        trust_list=None if withdrawn is None else DOCUMENTS["TrustList"].read(base64.b64decode(withdrawn))[0],
        known_drsks=frozenset() if known is None else frozenset({Name.from_text(known)}),
    )


def _open_inner_keys(header: dict[str, str], document: bytes, trust: PackageTrust) -> None:
    key = ec.derive_private_key(int(header["recovery-scalar"], 16), ec.SECP256R1())
    owner = trust.owner
    for migrating in accept_package(document, trust).content.migrating_keys:
        for blob in migrating.blobs:
            credential = blob.inner_keys[0].credential
            plaintext = open_credential(key, owner.recovery_key, owner.recovery_key_name, credential)
            read_inner_plaintext(plaintext, UUID(header["platform"]), migrating.key_id)


def _open_authority_grant(header: dict[str, str], document: bytes) -> None:
    """The vault of a software authority opens its TLS certificate."""
    grant, signed = DOCUMENTS["EnrolmentGrant"].read(document)
    trust = _trust(header)
    judge_signer(signed, SIGNERS, trust.owner, None, trust.now)
    key = ec.derive_private_key(int(header["vault-scalar"], 16), ec.SECP256R1())
    vault = recovery_public(key.public_key())
    k = Secret(open_credential(key, vault, name_of(vault), grant.certificates.credential))
    (certificate,) = read_bundle(decrypt(k, grant.certificates.ciphertext)).certificates
    judge_tls(certificate, UUID(header["authority"]), trust.owner, None)


def _import_release(header: dict[str, str], document: bytes, trust: PackageTrust) -> None:
    """The chip opens what was approved for it, and the key is there."""
    released = read_released_package(document, UUID(header["authority"]), trust.owner, None)
    package = accept_package(released.package, trust).content
    approval = read_restore_approval(released.approval, trust.owner, None, trust.now)
    (key,), (blob,), (entry,) = package.migrating_keys, released.blobs, approval.entries
    (inner,) = entry.inner_keys
    with frozen_chip(header["chip"]) as tpm:
        ek = tpm.endorsement_keys()[0]
        tpm.trust_salt(name_of(ek.public))
        plaintext = tpm.activate(name_of(ek.public), SRK_HANDLE, inner.credential, NO_SECRET)
        inner_key = Secret(read_inner_plaintext(plaintext.reveal(), trust.platform_id, key.key_id))
        imported = tpm.import_key(SRK_HANDLE, key.public, blob.outer, AES_128_CFB_SYMMETRIC, inner_key)
        assert tpm.loaded_name(SRK_HANDLE, imported, None)[0] == key.key_id


def judge_vector(header: dict[str, str], document: bytes) -> None:
    """Judge a document as its header says; raises one of `lms.errors` where it is refused."""
    kind = header["document"]
    if kind == "package":
        accept_package(document, _trust(header))
    elif kind == "package-inner-keys":
        _open_inner_keys(header, document, _trust(header))
    elif kind == "release":
        _import_release(header, document, _trust(header))
    elif kind == "owner-document":
        read_owner(document)
    elif kind in _REQUESTS:
        _REQUESTS[kind](document)
    elif kind == "authority-grant":
        _open_authority_grant(header, document)
    elif kind == "token":
        read_owned_token(document)
    elif kind in {"sheet", "TrustList", "EnrolmentGrant", "RestoreApproval"}:
        _, signed = read_sheet(document) if kind == "sheet" else DOCUMENTS[kind].read(document)
        trust = _trust(header)
        judge_signer(signed, SIGNERS, trust.owner, trust.trust_list, trust.now)
    else:
        verify(DOCUMENTS[kind].read(document)[1])
