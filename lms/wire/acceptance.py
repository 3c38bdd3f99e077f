"""From `UntrustedPackage` to `VerifiedPackage`: every check in the order of PROTOCOL §6, each with its own error.

Trust is passed in and nothing is looked up. Bytes, canonical form, schema and the form of the signature are
`lms.wire.document` and `lms.wire.signature`; who may sign is `lms.wire.certificates`. What is left to the TPM
(import, load, Name, probe) is `lms.service.restore`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from lms.errors import (
    ApprovalInvalid,
    BadAttributes,
    CertificationInvalid,
    NameMismatch,
    PackageExpired,
    PackageStale,
    PolicyMismatch,
    UnsupportedVersion,
    UntrustedSigner,
    WrongDestination,
    WrongRole,
)
from lms.model.keys import KeyType, Name
from lms.model.owner import Owner
from lms.model.packages import (
    VERSION,
    ChildKey,
    ContentKey,
    Destination,
    DestinationKind,
    Flow,
    MigratingKey,
    MigrationBlob,
    MigrationPackage,
    UntrustedPackage,
    VerifiedPackage,
)
from lms.model.policies import DuplicationPolicy
from lms.model.trust import Identity, Role, TrustList
from lms.wire.approvals import check_approved
from lms.wire.certificates import SignerRule, for_attestation, identity_of, issued_by_owner, judge_signer
from lms.wire.package_v1 import read_package
from lms.wire.signature import read_certificate
from lms.wire.tpm.attest import check_creation
from lms.wire.tpm.foreign import foreign_attributes, is_foreign_name
from lms.wire.tpm.policy import MK_POLICY, duplication_policy_digest, duplication_select
from lms.wire.tpm.public import Attributes, attestation_public, name_of, read_public
from lms.wire.tpm.recoverable import is_recoverable

_STORAGE: Final = Attributes.RESTRICTED | Attributes.DECRYPT
_CONTENT_KEY_ATTRIBUTES: Final = (Attributes.NO_DA, Attributes.NO_DA | Attributes.USER_WITH_AUTH)
_FIXED: Final = Attributes.FIXED_TPM | Attributes.FIXED_PARENT
_FIXED_TPM: Final = int(Attributes.FIXED_TPM)


@dataclass(frozen=True, slots=True)
class PackageTrust:
    """What the acceptor knows and wants.

    `platform_id`: whose package it has to be. `parent`: the Name of our own key that a blob has to be for;
    None looks at the package as such (`verify`). `highest_sequence`: the highest Sequence known anywhere, None
    where there is nothing to compare. `accepted_stale`: an older Sequence that the caller accepts by number.
    `judged_at`: Stored at an MA, else None for the package's own Created. `known_drsks`: DRSK Names for which
    an unapproved package is taken (PROTOCOL §5).
    """

    owner: Owner
    now: datetime
    platform_id: UUID | None
    parent: Name | None = None
    highest_sequence: int | None = None
    accepted_stale: int | None = None
    judged_at: datetime | None = None
    trust_list: TrustList | None = None
    known_drsks: frozenset[Name] = field(default_factory=frozenset)


def accept_package(document: bytes, trust: PackageTrust) -> VerifiedPackage:
    """The package in `document`, believed. Raises one error of `lms.errors` for each reason to refuse."""
    untrusted = read_package(document)
    approved = _check_signer(untrusted, trust)
    package = untrusted.content
    _check_header(package, trust)
    destinations = _check_destinations(package, trust)
    _check_names(package)
    _check_attributes(package)
    for key in package.migrating_keys:
        _check_policy(key, trust.owner)
    for key in package.migrating_keys:
        for blob in key.blobs:
            _check_approvals(key, blob, destinations[blob.destination], trust.owner)
    for key in package.migrating_keys:
        _check_certification(key, package, trust.owner)
    return VerifiedPackage(
        package, document, untrusted.signed.certificates, approved, trust.highest_sequence is not None
    )


def _check_signer(untrusted: UntrustedPackage, trust: PackageTrust) -> bool:
    header = untrusted.content.header
    source = Identity(Role.PLATFORM, header.source.platform_id)
    rule = SignerRule(frozenset({Role.PLATFORM}), source, self_issued=bool(trust.known_drsks))
    _, approved = judge_signer(untrusted.signed, rule, trust.owner, trust.trust_list, trust.judged_at or header.created)
    if header.flow is not Flow.DIRECT and trust.platform_id != header.source.platform_id:
        raise WrongRole(f"cannot accept a package of platform {header.source.platform_id}: expected another")
    if not approved and not all(key.key_id in trust.known_drsks for key in untrusted.content.migrating_keys):
        raise UntrustedSigner("cannot accept an unapproved package: it holds a key that is not known here")
    for certificate in untrusted.signed.certificates[1:]:
        if name_of(attestation_public(read_certificate(certificate)[1])) != header.source.ak_name:
            raise UntrustedSigner("cannot accept a certificate beside the signer's: it is not the attestation key's")
    return approved


def _check_header(package: MigrationPackage, trust: PackageTrust) -> None:
    header = package.header
    if package.version != VERSION:
        raise UnsupportedVersion(f"cannot read version '{package.version}' of a package: only '{VERSION}'")
    if header.expires is not None and header.flow is not Flow.ARCHIVE and trust.now >= header.expires:
        raise PackageExpired(
            f"cannot accept package {header.package_id}: it expired at {header.expires:%Y-%m-%d %H:%M}"
        )
    if header.sequence in (trust.highest_sequence, trust.accepted_stale):
        return
    if trust.highest_sequence is not None and header.sequence < trust.highest_sequence:
        raise PackageStale(f"cannot accept Sequence {header.sequence}: {trust.highest_sequence} is known")


def _check_destinations(package: MigrationPackage, trust: PackageTrust) -> dict[str, Destination]:
    destinations = {d.ref: d for d in package.header.destinations}
    blobs = [blob for key in package.migrating_keys for blob in key.blobs]
    if any(blob.destination not in destinations for blob in blobs):
        raise WrongDestination("cannot accept the package: a blob names a destination that the header does not")
    if trust.parent is not None and trust.parent not in {destinations[b.destination].parent_name for b in blobs}:
        raise WrongDestination(f"cannot use package {package.header.package_id}: no blob in it is for us")
    return destinations


def _check_names(package: MigrationPackage) -> None:
    parents: set[Name] = set()
    for migrating in package.migrating_keys:
        if name_of(migrating.public) != migrating.key_id:
            raise NameMismatch(f"cannot accept key '{migrating.label}': its KeyID is not its Name")
        parents.add(migrating.key_id)
    for child in package.child_keys:
        if not is_foreign_name(child.key_id, child.public):
            raise NameMismatch(f"cannot accept child key '{child.label}': its KeyID is not its Name")
        parents.add(child.key_id)
    below: tuple[ChildKey | ContentKey, ...] = (*package.child_keys, *package.content_keys)
    for placed in below:
        if placed.parent not in parents:
            raise NameMismatch(f"cannot accept the package: parent {placed.parent.digits} is not in it")
    _check_rooted(package)
    refs = {c.ref for c in package.content_keys}
    keys: tuple[MigratingKey | ChildKey, ...] = (*package.migrating_keys, *package.child_keys)
    for key in keys:
        for item in key.passwords + key.data:
            if item.content_key not in refs:
                raise NameMismatch(f"cannot accept '{item.label}': its content key is not in the package")


def _check_rooted(package: MigrationPackage) -> None:
    # Children that are each other's parents would keep a restore waiting for ever.
    rooted = {key.key_id for key in package.migrating_keys}
    parents = {child.key_id: child.parent for child in package.child_keys}
    for child in package.child_keys:
        if child.parent in rooted:
            rooted.add(child.key_id)
            continue
        path: set[Name] = set()
        at = child.key_id
        while at not in rooted:
            if at in path:
                raise NameMismatch(f"cannot accept child key '{child.label}': it hangs below no migrating key")
            path.add(at)
            at = parents[at]
        rooted |= path


def _check_attributes(package: MigrationPackage) -> None:
    for key in package.migrating_keys:
        area = read_public(key.public)
        if area.attributes & _STORAGE == _STORAGE:
            if not is_recoverable(area):
                raise BadAttributes(f"cannot accept storage key '{key.label}': its attributes are not a DRSK's")
        elif area.attributes & (_FIXED | Attributes.ENCRYPTED_DUPLICATION):
            raise BadAttributes(f"cannot accept key '{key.label}': its attributes forbid migration as we do it")
    for child in package.child_keys:
        if foreign_attributes(child.public) & _FIXED_TPM:
            raise BadAttributes(f"cannot accept child key '{child.label}': fixedTPM under a key that migrates")
    for content_key in package.content_keys:
        _check_content_key(content_key)


def _check_content_key(content_key: ContentKey) -> None:
    # As numbers: `~` of a flag knows only the bits that have names, and a reserved one would pass.
    if foreign_attributes(content_key.public) not in _CONTENT_KEY_ATTRIBUTES:
        raise BadAttributes(f"cannot accept content key '{content_key.ref}': its attributes are not a content key's")


def _check_policy(key: MigratingKey, owner: Owner) -> None:
    kept = read_public(key.public).policy
    if key.policy is None:
        expected, kind = MK_POLICY, KeyType.MK
    else:
        expected, kind = duplication_policy_digest(key.policy), key.policy.key_type
    if kept != expected or key.type is not kind:
        raise PolicyMismatch(f"cannot accept key '{key.label}': type or branches do not give its policy")
    if key.policy is None or key.policy.owner_alone:
        return
    # A branch of a stranger's would be a way out for ever.
    names = {*key.policy.approval_roots, *key.policy.offline_keys}
    ours = {owner.approval_root_name, owner.recovery_key_name}
    if owner.approval_root_name not in key.policy.approval_roots or not names <= ours:
        raise PolicyMismatch(f"cannot accept key '{key.label}': its policy has branches that are not this owner's")


def _check_approvals(key: MigratingKey, blob: MigrationBlob, destination: Destination, owner: Owner) -> None:
    policy = key.policy
    if policy is None:
        return
    if policy.owner_alone:
        if destination.kind is DestinationKind.PLATFORM:
            raise ApprovalInvalid(f"cannot accept the blob for '{destination.identity}': no peer gets an adopted key")
        # No TPM asks who approved where such a key went: all that this owner's own keys have to show is asked here.
        policy = DuplicationPolicy.of((owner.approval_root_name,), (owner.recovery_key_name,))
    if not blob.approvals and destination.parent_name in policy.offline_keys:
        return
    # A platform is approved for this very key, a vault or recovery key for all keys (PROTOCOL §2).
    included = key.key_id if destination.kind is DestinationKind.PLATFORM else None
    approved = duplication_select(destination.parent_name, included)
    check_approved(blob.approvals, approved, policy.approval_roots, destination.identity)


def _check_certification(key: MigratingKey, package: MigrationPackage, owner: Owner) -> None:
    if key.certification is None:
        return
    if key.policy is not None and key.policy.owner_alone:
        raise CertificationInvalid(f"cannot accept key '{key.label}': an adopted key has no birth evidence")
    try:
        certificate, public = read_certificate(key.certification.certificate)
    except ValueError:
        raise CertificationInvalid("cannot read the certificate of an attestation key") from None
    expected = Identity(Role.PLATFORM, package.header.source.platform_id)
    trusted = issued_by_owner(certificate, owner) and for_attestation(certificate)
    if not trusted or identity_of(certificate) != expected:
        raise CertificationInvalid("cannot accept birth evidence: its attestation key is not this platform's")
    check_creation(
        key.certification.attestation,
        attestation_public(public),
        key.key_id,
        key.certification.creation_data,
        None,
    )
