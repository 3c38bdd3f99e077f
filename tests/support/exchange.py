"""A valid example of every document beside the package: sheet, trust list, requests, grants, releases (PROTOCOL §6)."""

from __future__ import annotations

import hashlib
from functools import cache

from lms.model.exchange import (
    AttestedKey,
    AuthorityEnrolment,
    BirthEvidence,
    EncryptedCertificates,
    EnrolmentGrant,
    EnrolmentRequest,
    Entry,
    PlatformEnrolment,
    ReleasedBlob,
    ReleasedPackage,
    RequestBase,
    RestoreAnnex,
    RestoreApproval,
    RestoreRequest,
    RewrappedPackage,
)
from lms.model.owner import RecoverySheet, SheetAuthority
from lms.model.secret import Secret
from lms.model.trust import Identity, Mode, Pair, Role, TrustedAuthority, TrustedPlatform, TrustList, Withdrawal
from lms.wire.certificates import self_issue
from lms.wire.content import encrypt
from lms.wire.exchange_v1 import DOCUMENTS, CertificateBundle, write_bundle
from lms.wire.signature import sign
from lms.wire.token_v1 import write_sheet
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.policy import duplication_select
from lms.wire.tpm.public import RECOVERY_ATTRIBUTES
from tests.support.documents import (
    LATER,
    NOW,
    SoftwareKey,
    SoftwareSigner,
    certify,
    make_owner,
    make_package,
    make_platform,
    private_key,
    software_key,
    uuid,
    vault,
)

K = Secret(hashlib.sha256(b"k").digest())
NONCE = b"sixteen of bytes"


def request_id(purpose: str, identity, ek: SoftwareKey, parent: SoftwareKey, ak: SoftwareKey, signer: SoftwareKey):
    """RequestID of PROTOCOL §6, spelled out once more."""
    head = f"localmigration:{purpose}:1".encode() + identity.bytes + NONCE
    return hashlib.sha256(head + ek.name + parent.name + ak.name + hashlib.sha256(signer.spki).digest()).digest()


def attested(key: SoftwareKey, ak: SoftwareKey) -> AttestedKey:
    return AttestedKey(key.public, certify(ak, key.name, b"qualified name"))


def sheet() -> RecoverySheet:
    platform = make_platform()
    authority = SheetAuthority(uuid("ma"), "ma.example:8443", vault().name)
    return RecoverySheet(
        platform.id, platform.world.owner.document, platform.policy, (authority,), platform.drsk.public, 7
    )


def trust_list(*withdrawn: Identity, number: int = 3) -> TrustList:
    platform, world = make_platform(), make_owner()
    authority = TrustedAuthority(
        uuid("ma"),
        ("ma.example:8443", "192.0.2.1:8443"),
        Mode.TPM,
        False,
        hashlib.sha256(b"TLS").digest(),
        vault().public,
        (world.approve(duplication_select(vault().name)),),
    )
    return TrustList(
        number=number,
        owner=world.owner.fingerprint,
        issued=NOW,
        platforms=(TrustedPlatform(platform.id, (Pair(platform.ek.name, platform.srk.name),), (platform.drsk.name,)),),
        vouched_eks=(platform.ek.public,),
        authorities=(authority,),
        withdrawn=tuple(Withdrawal(identity, NOW) for identity in withdrawn),
    )


def signed_trust_list(*withdrawn: Identity) -> bytes:
    return sign(DOCUMENTS["TrustList"].write(trust_list(*withdrawn)), make_owner().signer)


def platform_request() -> EnrolmentRequest:
    p, born = make_platform(), make_package().migrating_keys[0].certification
    base = RequestBase(
        request_id("enrolment", p.id, p.ek, p.srk, p.ak, p.signing_key), NONCE, p.ek.public, (b"EK certificate",), 2
    )
    drsk = BirthEvidence(p.drsk.public, born.creation_data, born.attestation, None)
    enrolment = PlatformEnrolment(p.id, p.ak.public, attested(p.srk, p.ak), attested(p.signing_key, p.ak), drsk)
    return EnrolmentRequest(base, enrolment, None)


def adopted_request() -> EnrolmentRequest:
    """A platform whose DRSK was adopted: without birth evidence."""
    whole = platform_request()
    enrolment = whole.platform
    bare = BirthEvidence(enrolment.drsk.public, None, None, None)
    return EnrolmentRequest(
        whole.base,
        PlatformEnrolment(enrolment.platform_id, enrolment.ak, enrolment.srk, enrolment.signing_key, bare),
        None,
    )


def authority_request() -> EnrolmentRequest:
    """An MA with a TPM."""
    p, tls = make_platform("ma"), software_key("ma TLS", RECOVERY_ATTRIBUTES)
    base = RequestBase(request_id("enrolment", p.id, p.ek, vault(), p.ak, tls), NONCE, p.ek.public, (), 0)
    certified = certify(p.ak, vault().name, b"qualified name")
    part = AuthorityEnrolment(
        p.id, p.ak.public, vault().public, certified, tls.spki, ("https://ma.example:8443",), Mode.TPM
    )
    return EnrolmentRequest(base, None, part)


def software_authority_request() -> EnrolmentRequest:
    """An MA without a TPM: neither EK nor AK nor Certify."""
    kept, tls = software_key("kept", RECOVERY_ATTRIBUTES), software_key("ma TLS", RECOVERY_ATTRIBUTES)
    base = RequestBase(request_id("enrolment", uuid("ma"), kept, kept, kept, tls), NONCE, None, (), 0)
    part = AuthorityEnrolment(
        uuid("ma"), None, kept.public, None, tls.spki, ("https://ma.example:8443",), Mode.SOFTWARE
    )
    return EnrolmentRequest(base, None, part)


def certificates() -> EncryptedCertificates:
    p = make_platform()
    credential = make_credential(p.ek.public, K.reveal(), p.ak.name)
    return EncryptedCertificates(
        credential, encrypt(K, b"nonce of 12.", write_bundle(CertificateBundle(p.signer.certificates)))
    )


def entry() -> Entry:
    (key,) = make_package().migrating_keys
    return Entry(key.key_id, str(uuid("ma")), key.blobs[0].inner_keys)


def restore_request(*, at_hand: bool = True) -> RestoreRequest:
    p, package = make_platform(), make_package()
    base = RequestBase(request_id("restore", p.id, p.ek, p.srk, p.ak, p.signing_key), NONCE, p.ek.public, (), 3)
    keys = (p.id, p.ak.public, attested(p.srk, p.ak), attested(p.signing_key, p.ak))
    held = (package.header.package_id, 7, (entry(),)) if at_hand else (None, None, ())
    return RestoreRequest(base, *keys, *held)


@cache
def examples() -> dict[str, tuple[str, object, SoftwareSigner]]:
    """Label → (root element, value, signer) for every exchange document in each of its shapes."""
    world, platform = make_owner(), make_platform()
    request = restore_request().base.request_id
    package_id = make_package().header.package_id
    signed_package = platform.signed(make_package())
    signed_sheet = sign(write_sheet(sheet()), world.signer)
    grant = EnrolmentGrant(
        request,
        certificates(),
        (world.approve(duplication_select(vault().name)),),
        signed_trust_list(),
        signed_sheet,
        Mode.TPM,
        False,
    )
    bare_grant = EnrolmentGrant(request, certificates(), (), signed_trust_list(), None, Mode.SOFTWARE, True)
    approved = RestoreApproval(
        request,
        package_id,
        NOW,
        LATER,
        (entry(),),
        certificates(),
        signed_trust_list(),
        signed_sheet,
        (bytes(32),),
        True,
    )
    approval = sign(DOCUMENTS["RestoreApproval"].write(approved), world.signer)
    digest = hashlib.sha256(signed_package).digest()
    annex = RestoreAnnex(request, bytes(32), package_id, 7, NOW, digest, (b"\1" * 32,), (entry(),))
    released = ReleasedPackage(
        signed_package,
        (ReleasedBlob(platform.drsk.name, platform.blob(platform.drsk, "D0", platform.srk.public).outer),),
        approval,
    )
    authority = world.signer_of(Role.MIGRATION_AUTHORITY, "ma")
    tls = private_key("ma TLS")
    own = SoftwareSigner(tls, (self_issue(Identity(Role.MIGRATION_AUTHORITY, uuid("ma")), tls, NOW),))
    return {
        "enrolment-request-platform": ("EnrolmentRequest", platform_request(), platform.self_issued),
        "enrolment-request-adopted": ("EnrolmentRequest", adopted_request(), platform.self_issued),
        "enrolment-request-authority": ("EnrolmentRequest", authority_request(), own),
        "enrolment-request-software": ("EnrolmentRequest", software_authority_request(), own),
        "enrolment-grant": ("EnrolmentGrant", grant, world.signer),
        "enrolment-grant-bare": ("EnrolmentGrant", bare_grant, world.signer_of(Role.SIGNER, "signer")),
        "restore-request": ("RestoreRequest", restore_request(), platform.self_issued),
        "restore-request-bare": ("RestoreRequest", restore_request(at_hand=False), platform.self_issued),
        "restore-annex": ("RestoreAnnex", annex, authority),
        "restore-approval": ("RestoreApproval", approved, world.signer),
        "trust-list": ("TrustList", trust_list(Identity(Role.PLATFORM, uuid("stolen"))), world.signer),
        "released-package": ("ReleasedPackage", released, authority),
        "rewrapped-package": ("RewrappedPackage", RewrappedPackage(package_id, released.blobs), authority),
    }
