"""A complete world in software: an owner, a platform with its keys and evidence, its package (PROTOCOL §1-§6).

No TPM, no clock. Keys follow from their labels and IDs are fixed; signatures, seeds of wraps and serial numbers of
certificates are random. Change a part with `dataclasses.replace` and sign again with `Platform.signed`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.model.keys import SHA256, KeyType, Name
from lms.model.owner import EmergencyRecoveryToken, Owner, OwnerDocument
from lms.model.packages import (
    Certification,
    ChildKey,
    ContentKey,
    Destination,
    DestinationKind,
    Flow,
    Header,
    InnerKey,
    ItemUsage,
    MigratingKey,
    MigrationBlob,
    MigrationPackage,
    MsaApproval,
    Source,
)
from lms.model.policies import POLICY_REF, PRESET_OWNER, DuplicationPolicy
from lms.model.secret import Secret
from lms.model.tpm import Attestation
from lms.model.trust import Identity, Role
from lms.wire.anchor import fingerprint, read_owner
from lms.wire.certificates import issue, make_ca, self_issue
from lms.wire.content import Content, encrypt_item
from lms.wire.package_v1 import write_package
from lms.wire.seed import COST, OwnerKeys, owner_keys, seal_seed
from lms.wire.signature import sign
from lms.wire.token_v1 import write_owner_document, write_token
from lms.wire.tpm.attest import ATTEST_CERTIFY, ATTEST_CREATION
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.digests import digest
from lms.wire.tpm.inner_key import inner_plaintext
from lms.wire.tpm.marshal import Writer, sized, unsized
from lms.wire.tpm.policy import OWNER_AUTHORISED, approval_digest, duplication_policy_digest, duplication_select
from lms.wire.tpm.public import (
    AK_ATTRIBUTES,
    ALG_ECC,
    ALG_NULL,
    DRSK_ATTRIBUTES,
    NIST_P256,
    RECOVERY_ATTRIBUTES,
    SIGNING_ATTRIBUTES,
    SRK_ATTRIBUTES,
    Attributes,
    EccParameters,
    KeyedHashParameters,
    PublicArea,
    approval_public,
    name_of,
    recovery_public,
    write_public,
)
from lms.wire.tpm.sensitive import Sensitive
from lms.wire.tpm.signature import sign_digest
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC, wrap_inner, wrap_outer

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 2, 2, 3, 4, 5, tzinfo=UTC)
PASSWORD = Secret("Grüße an die Bergwacht".encode())
CONTENT_KEY = Secret(hashlib.sha256(b"content key").digest())
VAULT, TOKEN = "D0", "D1"
_STORAGE = EccParameters(NIST_P256, 128)


def uuid(label: str) -> UUID:
    """A UUID that follows from a label."""
    return UUID(bytes=hashlib.sha256(label.encode()).digest()[:16], version=4)


@dataclass(frozen=True)
class SoftwareKey:
    """A key in software and its TPM2B_PUBLIC."""

    private: ec.EllipticCurvePrivateKey
    public: bytes

    @property
    def name(self) -> Name:
        return name_of(self.public)

    @property
    def spki(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def sensitive(self) -> Sensitive:
        return Sensitive(ALG_ECC, b"", bytes(32), self.private.private_numbers().private_value.to_bytes(32, "big"))


def private_key(label: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 key that follows from a label."""
    return ec.derive_private_key(int.from_bytes(hashlib.sha256(label.encode()).digest()[1:], "big"), ec.SECP256R1())


def software_key(label: str, attributes: int, parameters=_STORAGE, policy: bytes = b"") -> SoftwareKey:
    """A key by the templates of PROTOCOL §1."""
    key = private_key(label)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
    return SoftwareKey(key, write_public(PublicArea(SHA256, Attributes(attributes), policy, parameters, point)))


def sealed_public(attributes: int, policy: bytes = OWNER_AUTHORISED) -> bytes:
    """TPM2B_PUBLIC of a sealed object; also with bits that we do not know."""
    area = PublicArea(SHA256, Attributes(0), policy, KeyedHashParameters(), bytes(32))
    content = unsized(write_public(area))
    return sized(content[:4] + attributes.to_bytes(4, "big") + content[8:])


@dataclass(frozen=True)
class SoftwareSigner:
    """A `lms.wire.signature.Signer` with its key in software."""

    private: ec.EllipticCurvePrivateKey
    certificates: tuple[bytes, ...]

    def sign(self, digest: bytes) -> bytes:
        return sign_digest(self.private, digest)


@dataclass(frozen=True, eq=False)
class OwnerWorld:
    """An owner with everything opened."""

    seed: Secret
    keys: OwnerKeys
    owner: Owner

    @property
    def signer(self) -> SoftwareSigner:
        return SoftwareSigner(self.keys.ca, (self.owner.ca_certificate,))

    def certificate(self, identity: Identity, key: ec.EllipticCurvePrivateKey, *, attestation: bool = False) -> bytes:
        ca = self.owner.ca_certificate
        return issue(identity, key.public_key(), ca, self.keys.ca, NOW, attestation=attestation)

    def signer_of(self, role: Role, label: str) -> SoftwareSigner:
        """A signer that this owner certified, with UUID and key of `label`."""
        key = private_key(label)
        return SoftwareSigner(key, (self.certificate(Identity(role, uuid(label)), key),))

    def approve(self, policy: bytes, policy_ref: bytes = POLICY_REF) -> MsaApproval:
        return approval(self.keys.approval, self.owner.approval_root, policy, policy_ref)


def approval(key, public: bytes, policy: bytes, policy_ref: bytes = POLICY_REF) -> MsaApproval:
    """An approval by any root."""
    return MsaApproval(public, policy, policy_ref, sign_digest(key, approval_digest(policy, policy_ref)))


def owner_document(keys: OwnerKeys, root_signer: ec.EllipticCurvePrivateKey | None = None) -> OwnerDocument:
    """The content of an owner document; `root_signer` signs in place of the approval root."""
    root, recovery = approval_public(keys.approval.public_key()), recovery_public(keys.recovery.public_key())
    anchor = fingerprint(keys.ca.public_key(), name_of(root), name_of(recovery))
    return OwnerDocument(make_ca(keys.ca, NOW), root, recovery, sign_digest(root_signer or keys.approval, anchor))


def make_owner(label: str = "owner") -> OwnerWorld:
    """The owner of a label."""
    return _make_owner(label)


@cache  # by position alone: `cache` takes f() and f("owner") for two calls
def _make_owner(label: str) -> OwnerWorld:
    seed = Secret(hashlib.sha256(label.encode()).digest())
    keys = owner_keys(seed)
    value = owner_document(keys)
    signed = sign(write_owner_document(value), SoftwareSigner(keys.ca, (value.ca_certificate,)))
    return OwnerWorld(seed, keys, read_owner(signed))


@cache
def make_token(world: OwnerWorld) -> EmergencyRecoveryToken:
    """The owner's token under PASSWORD; takes half a second, so it is made once."""
    empty = EmergencyRecoveryToken(world.owner.document, COST, b"salt of 16 bytes", b"nonce of 12.", b"")
    return replace(empty, sealed=seal_seed(empty, world.seed, PASSWORD))


@cache
def signed_token(world: OwnerWorld) -> bytes:
    """The token file."""
    return sign(write_token(make_token(world)), world.signer)


def certify(ak: SoftwareKey, name: Name, evidence: bytes, kind: int = ATTEST_CERTIFY) -> Attestation:
    """TPM2_Certify or TPM2_CertifyCreation by an AK in software."""
    head = Writer().u32(0xFF544347).u16(kind).sized(ak.name).sized(b"").raw(bytes(25))
    attest = bytes(head.sized(name).sized(evidence))
    return Attestation(sized(attest), sign_digest(ak.private, digest(SHA256, attest)))


@dataclass(frozen=True)
class Platform:
    """A platform of an owner: its keys in software, all certified."""

    world: OwnerWorld
    label: str
    offline: bool = True

    @property
    def id(self) -> UUID:
        return uuid(self.label)

    @property
    def identity(self) -> Identity:
        return Identity(Role.PLATFORM, self.id)

    @property
    def ek(self) -> SoftwareKey:
        return software_key(f"{self.label} EK", RECOVERY_ATTRIBUTES | Attributes.FIXED_TPM | Attributes.FIXED_PARENT)

    @property
    def srk(self) -> SoftwareKey:
        return software_key(f"{self.label} SRK", SRK_ATTRIBUTES)

    @property
    def ak(self) -> SoftwareKey:
        return software_key(f"{self.label} AK", AK_ATTRIBUTES, EccParameters(NIST_P256, scheme_hash=SHA256))

    @property
    def signing_key(self) -> SoftwareKey:
        return software_key(f"{self.label} signing", SIGNING_ATTRIBUTES, EccParameters(NIST_P256))

    @property
    def policy(self) -> DuplicationPolicy:
        owner = self.world.owner
        return DuplicationPolicy.of((owner.approval_root_name,), (owner.recovery_key_name,) if self.offline else ())

    @property
    def adopted(self) -> SoftwareKey:
        """A DRSK as tpm_keys makes it."""
        attributes = DRSK_ATTRIBUTES & ~Attributes.NO_DA
        return software_key(f"{self.label} adopted", attributes, policy=duplication_policy_digest(PRESET_OWNER))

    @property
    def drsk(self) -> SoftwareKey:
        return software_key(f"{self.label} DRSK", DRSK_ATTRIBUTES, policy=duplication_policy_digest(self.policy))

    @property
    def signer(self) -> SoftwareSigner:
        """The signer of an approved package."""
        key, ak = self.signing_key.private, self.ak.private
        return SoftwareSigner(
            key, tuple(self.world.certificate(self.identity, k, attestation=k is ak) for k in (key, ak))
        )

    @property
    def self_issued(self) -> SoftwareSigner:
        """The signer of an unapproved package."""
        key = self.signing_key.private
        return SoftwareSigner(key, (self_issue(self.identity, key, NOW),))

    def signed(self, package: MigrationPackage, signer: SoftwareSigner | None = None) -> bytes:
        return sign(write_package(package), signer or self.signer)

    def birth(self, key: SoftwareKey, ak: SoftwareKey | None = None) -> Certification:
        """Birth evidence of a key below this SRK; `ak` in place of the platform's own, with a certificate for it."""
        ak = ak or self.ak
        parent = self.srk.name
        tail = Writer().u8(1).u16(SHA256).sized(parent).sized(parent).sized(b"")
        created = bytes(Writer().u32(0).sized(b"").raw(bytes(tail)))
        attestation = certify(ak, key.name, digest(SHA256, created), ATTEST_CREATION)
        return Certification(
            attestation, sized(created), self.world.certificate(self.identity, ak.private, attestation=True)
        )

    def blob(self, key: SoftwareKey, ref: str, parent: bytes, approvals: tuple[MsaApproval, ...] = ()) -> MigrationBlob:
        """A key's way below `parent`, with the inner key for the owner's token."""
        inner_key = hashlib.sha256(f"{self.label} {ref}".encode()).digest()[:16]
        outer = wrap_outer(parent, key.name, wrap_inner(key.sensitive, key.name, inner_key))
        recovery, recovery_name = self.world.owner.recovery_key, self.world.owner.recovery_key_name
        plaintext = inner_plaintext(inner_key, self.id, key.name)
        inner = InnerKey(recovery_name, make_credential(recovery, plaintext, recovery_name))
        return MigrationBlob(ref, outer, AES_128_CFB_SYMMETRIC, (inner,), approvals)

    def item(self, name: Name, usage: ItemUsage = ItemUsage.PASSWORD, label: str = "disk", value: bytes = b"secret"):
        """An item of the key `name` under CONTENT_KEY."""
        content = Content(self.id, name, usage, "system", "backup", label, value)
        return encrypt_item(content, "C0", CONTENT_KEY, hashlib.sha256(label.encode()).digest()[:12])


@cache
def vault() -> SoftwareKey:
    """The vault parent of the one MA."""
    return software_key("vault", SRK_ATTRIBUTES)


def make_platform(label: str = "platform", owner: str = "owner") -> Platform:
    """The platform of a label."""
    return Platform(make_owner(owner), label)


def migrating_key(platform: Platform) -> MigratingKey:
    """The DRSK on its two ways: approved to the vault, offline to the token."""
    owner, drsk = platform.world.owner, platform.drsk
    approvals = (platform.world.approve(duplication_select(vault().name)),)
    return MigratingKey(
        key_id=drsk.name,
        type=KeyType.CMK,
        label="DRSK",
        public=drsk.public,
        policy=platform.policy,
        certification=platform.birth(drsk),
        blobs=(
            platform.blob(drsk, VAULT, vault().public, approvals),
            platform.blob(drsk, TOKEN, owner.recovery_key),
        ),
        passwords=(platform.item(drsk.name),),
    )


def child_key(platform: Platform, label: str = "child", parent: Name | None = None) -> ChildKey:
    """A key of an application that we know nothing about (an HMAC key with a scheme)."""
    public = foreign_public(Attributes.NO_DA | Attributes.SIGN | Attributes.USER_WITH_AUTH, label)
    key_id = Name(b"\0\x0b" + digest(SHA256, unsized(public)))
    items = (platform.item(key_id, ItemUsage.DATA, label, b"x" * 40),)
    return ChildKey(
        key_id, parent or platform.drsk.name, "1000:anna", "vpn", label, public, sized(b"private"), data=items
    )


def foreign_public(attributes: int, label: str) -> bytes:
    """TPM2B_PUBLIC of a symmetric cipher object, which `lms.wire.tpm.public` does not read."""
    area = Writer().u16(0x0025).u16(SHA256).u32(attributes).sized(b"").u16(0x0006).u16(128).u16(ALG_NULL)
    return sized(bytes(area.sized(hashlib.sha256(label.encode()).digest())))


def adopted_package(platform: Platform | None = None) -> MigrationPackage:
    """An archive with an adopted DRSK for vault and token, and nothing else."""
    platform = platform or make_platform()
    owner, drsk, whole = platform.world.owner, platform.adopted, make_package(platform)
    (key,) = whole.migrating_keys
    approvals = (platform.world.approve(duplication_select(vault().name)),)
    key = replace(
        key,
        key_id=drsk.name,
        type=KeyType.MK,
        public=drsk.public,
        policy=PRESET_OWNER,
        certification=None,
        blobs=(
            platform.blob(drsk, VAULT, vault().public, approvals),
            platform.blob(drsk, TOKEN, owner.recovery_key),
        ),
        passwords=(),
    )
    return replace(whole, content_keys=(), child_keys=(), migrating_keys=(key,))


def make_package(platform: Platform | None = None) -> MigrationPackage:
    """An archive with a DRSK, a child, a content key and items."""
    return _make_package(platform or make_platform())


@cache
def _make_package(platform: Platform) -> MigrationPackage:
    owner = platform.world.owner
    source = Source(platform.id, (platform.ek.name,), platform.ak.name, platform.srk.name, "host.example")
    header = Header(
        package_id=uuid(f"{platform.label} package"),
        flow=Flow.ARCHIVE,
        created=NOW,
        expires=None,
        sequence=7,
        supersedes=None,
        source=source,
        destinations=(
            Destination(VAULT, DestinationKind.MIGRATION_AUTHORITY, str(uuid("ma")), vault().name),
            Destination(TOKEN, DestinationKind.RECOVERY_TOKEN, owner.token_id, owner.recovery_key_name),
        ),
    )
    content_key = ContentKey("C0", sealed_public(Attributes.NO_DA), sized(b"sealed"), platform.drsk.name)
    return MigrationPackage(header, (content_key,), (migrating_key(platform),), (child_key(platform),))


def small_package(platform: Platform | None = None) -> MigrationPackage:
    """The least archive: a DRSK for the token alone, no items, no evidence."""
    whole = make_package(platform)
    (key,) = whole.migrating_keys
    header = replace(whole.header, destinations=whole.header.destinations[1:])
    key = replace(key, certification=None, blobs=key.blobs[1:], passwords=())
    return replace(whole, header=header, content_keys=(), child_keys=(), migrating_keys=(key,))
