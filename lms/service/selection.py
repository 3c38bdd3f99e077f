"""What a Migration Selection Authority judges before it opens or signs anything (PROTOCOL §2, §3).

It verifies the package itself, recomputes every Name, and wraps keys only to a destination whose public it
has judged; it never signs a digest that it was given. Used by the opener of a token.
"""

from __future__ import annotations

import secrets

from cryptography.hazmat.primitives.asymmetric import ec

from lms.errors import BadAttributes, InnerKeyMismatch, WrongDestination
from lms.model.keys import Name
from lms.model.owner import Owner
from lms.model.packages import MigratingKey, MigrationBlob, MigrationPackage
from lms.model.release import Release, ReleasedKey, ReleaseRequest
from lms.model.trust import Identity, Role
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.certificates import issue
from lms.wire.seed import OwnerKeys
from lms.wire.tpm.credential import make_credential, open_credential
from lms.wire.tpm.inner_key import inner_plaintext, read_inner_plaintext
from lms.wire.tpm.public import (
    SIGNING_ATTRIBUTES,
    SRK_ATTRIBUTES,
    Attributes,
    ec_public_key,
    name_of,
    read_public,
)
from lms.wire.tpm.sensitive import matches
from lms.wire.tpm.wrap import INNER_KEY_SIZE, unwrap_inner, unwrap_outer, wrap_inner, wrap_outer
from lms.wire.trust_list import read_trust_list

_EK_MUST = Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.RESTRICTED | Attributes.DECRYPT


def judge_ek(ek: bytes) -> None:
    """Raises BadAttributes unless the public (TPM2B_PUBLIC) has the attributes of an EK."""
    if read_public(ek).attributes & (_EK_MUST | Attributes.SIGN) != _EK_MUST:
        raise BadAttributes("cannot take this EK: it does not have the attributes of one")


def judge_new_chip(ek: bytes, srk: bytes, signing_key: bytes) -> None:
    """Raises BadAttributes unless EK, SRK and signing key have the attributes of their roles."""
    judge_ek(ek)
    if read_public(srk).attributes != SRK_ATTRIBUTES:
        raise BadAttributes("cannot release to this SRK: it does not have exactly the attributes of one")
    if read_public(signing_key).attributes != SIGNING_ATTRIBUTES:
        raise BadAttributes("cannot certify this signing key: it does not have the attributes of one")


def release(request: ReleaseRequest, owner: Owner, keys: OwnerKeys) -> Release:
    """Open a package with the owner's keys and wrap what it holds to the chip in the request.

    Outer and inner wrap are opened and made anew in this process; the new inner key is a credential that only
    the EK opens, for the SRK's Name. Raises the errors of acceptance, BadAttributes, WrongDestination,
    InnerKeyMismatch, BlobRefused.
    """
    judge_new_chip(request.ek, request.srk, request.signing_key)
    trust = PackageTrust(
        owner=owner,
        now=request.now,
        platform_id=request.platform_id,
        parent=owner.recovery_key_name,
        highest_sequence=request.highest_sequence,
        accepted_stale=request.accepted_stale,
        trust_list=None if request.trust_list is None else read_trust_list(request.trust_list, owner),
        known_drsks=request.confirmed,
    )
    package = accept_package(request.package, trust).content
    released = tuple(_rewrap(package, key, request, owner, keys.recovery) for key in package.migrating_keys)
    certificate = issue(
        Identity(Role.PLATFORM, request.platform_id),
        ec_public_key(read_public(request.signing_key)),
        owner.ca_certificate,
        keys.ca,
        request.now,
    )
    return Release(released, certificate)


def _blob_for(package: MigrationPackage, key: MigratingKey, parent: Name) -> MigrationBlob:
    ours = {d.ref for d in package.header.destinations if d.parent_name == parent}
    for blob in key.blobs:
        if blob.destination in ours:
            return blob
    raise WrongDestination(f"cannot release '{key.label}': no blob of it is for this token")


def _inner_key(
    package: MigrationPackage,
    key: MigratingKey,
    blob: MigrationBlob,
    owner: Owner,
    recovery: ec.EllipticCurvePrivateKey,
) -> bytes:
    for inner in blob.inner_keys:
        if inner.recipient == owner.recovery_key_name:
            plaintext = open_credential(recovery, owner.recovery_key, owner.recovery_key_name, inner.credential)
            return read_inner_plaintext(plaintext, package.header.source.platform_id, key.key_id)
    raise InnerKeyMismatch(f"cannot release '{key.label}': its inner key is not for this token")


def _rewrap(
    package: MigrationPackage,
    key: MigratingKey,
    request: ReleaseRequest,
    owner: Owner,
    recovery: ec.EllipticCurvePrivateKey,
) -> ReleasedKey:
    blob = _blob_for(package, key, owner.recovery_key_name)
    old = _inner_key(package, key, blob, owner, recovery)
    sensitive = unwrap_inner(unwrap_outer(recovery, owner.recovery_key, key.key_id, blob.outer), key.key_id, old)
    if not matches(sensitive, key.public):
        raise InnerKeyMismatch(f"cannot release '{key.label}': what the blob holds is another key")
    new = secrets.token_bytes(INNER_KEY_SIZE)
    plaintext = inner_plaintext(new, package.header.source.platform_id, key.key_id)
    return ReleasedKey(
        key.key_id,
        wrap_outer(request.srk, key.key_id, wrap_inner(sensitive, key.key_id, new)),
        make_credential(request.ek, plaintext, name_of(request.srk)),
    )
