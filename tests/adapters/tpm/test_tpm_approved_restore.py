"""The full circle: a DRSK goes from one TPM to a vault, and under an approval to another TPM, and to that one only.

Neither party holds the key on the way: the vault passes the outer wrap on, the approver the inner key.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import BlobRefused, InnerKeyMismatch
from lms.model.exchange import AttestedKey, Entry, RequestBase, RestoreRequest
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, digits
from lms.model.owner import RecoverySheet
from lms.model.packages import InnerKey
from lms.model.policies import Branch, BranchKind, DuplicationPolicy
from lms.model.release import RestorationOrder
from lms.model.secret import Secret
from lms.model.trust import Identity, Pair, Role, TrustedPlatform
from lms.service.approving import approve_restore
from lms.service.signing import PlatformSigner, make_signing_key
from lms.wire.certificates import identity_of
from lms.wire.content import decrypt
from lms.wire.exchange_v1 import RESTORE_REQUEST, read_bundle
from lms.wire.restoration import read_restore_approval, restore_id
from lms.wire.signature import read_certificate, sign
from lms.wire.token_v1 import write_sheet
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.inner_key import inner_plaintext, read_inner_plaintext
from lms.wire.tpm.policy import duplication_select
from lms.wire.tpm.public import RECOVERY_ATTRIBUTES, ec_public_key, name_of, read_public
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC, rewrap
from tests.adapters.tpm.bench import NOTHING, OWNER, PROBE
from tests.support.documents import NOW, make_owner, software_key, uuid
from tests.support.exchange import NONCE, trust_list
from tests.support.restoring import AUTHORITY, NOT_AFTER, signed_list

WORLD = make_owner()
PLATFORM_ID = uuid("a machine whose board died")
AK = 0
VAULT = software_key("vault of a software MA", RECOVERY_ATTRIBUTES)
CONTENT = Secret(b"what hangs below the DRSK")


class Archived:
    """What is left of the first machine: its DRSK at the vault, its inner key for the token, a child of the key."""

    def __init__(self, platform) -> None:
        owner = WORLD.owner
        platform.make_drsk(DuplicationPolicy.of((owner.approval_root_name,)))
        self.policy, self.drsk, self.name = platform.policy, platform.drsk, name_of(platform.drsk)
        self.pair = Pair(ek_of(platform)[0], name_of(platform.srk))
        self.child = platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=CONTENT)
        branch = Branch(BranchKind.APPROVAL, owner.approval_root_name)
        approvals = (WORLD.approve(duplication_select(VAULT.name)),)
        duplicated = platform.duplicate(VAULT.public, branch, approvals)
        self.outer = duplicated.outer
        plaintext = inner_plaintext(duplicated.inner_key.reveal(), PLATFORM_ID, self.name)
        credential = make_credential(owner.recovery_key, plaintext, owner.recovery_key_name)
        self.entry = Entry(self.name, str(AUTHORITY), (InnerKey(owner.recovery_key_name, credential),))


def ek_of(platform):
    """Name and public of the EK to which answers go."""
    public = platform.tpm.endorsement_keys()[0].public
    return name_of(public), public


def ask(platform, archived):
    """The new machine's request, signed by its TPM; its signing key and RequestID."""
    tpm, (ek_name, ek) = platform.tpm, ek_of(platform)
    signing = make_signing_key(tpm, SRK_HANDLE, PLATFORM_ID, NOW)
    ak, srk_name = tpm.attestation_key(), name_of(platform.srk)
    key = ec_public_key(read_public(signing.key.public))
    request = RestoreRequest(
        base=RequestBase(restore_id(PLATFORM_ID, NONCE, ek_name, srk_name, name_of(ak), key), NONCE, ek, (), 3),
        platform_id=PLATFORM_ID,
        ak=ak,
        srk=AttestedKey(platform.srk, tpm.certify(SRK_HANDLE, None, NOTHING)),
        signing_key=AttestedKey(signing.key.public, tpm.certify(SRK_HANDLE, signing.key, signing.auth)),
        package_id=uuid("the last package"),
        sequence=7,
        entries=(archived.entry,),
    )
    document = sign(RESTORE_REQUEST.write(request), PlatformSigner(tpm, SRK_HANDLE, signing))
    return document, signing, request.base.request_id


def approve(archived, document, request_id):
    """The approver compared the digits."""
    platform = TrustedPlatform(PLATFORM_ID, (archived.pair,), (archived.name,))
    sheet = RecoverySheet(PLATFORM_ID, WORLD.owner.document, archived.policy, (), archived.drsk, 0)
    order = RestorationOrder(
        request=document,
        annex=None,
        digits=digits(request_id),
        ek_roots=(),
        vouch=True,
        trust_list=signed_list(replace(trust_list(), platforms=(platform,))),
        sheet=sign(write_sheet(sheet), WORLD.signer),
        supersedes=(),
        now=NOW,
        not_after=NOT_AFTER,
    )
    answer = approve_restore(order, WORLD.owner, WORLD.keys)
    return read_restore_approval(answer.approval, WORLD.owner, None, NOW)


def release(archived, platform):
    """What the authority passes on: another outer wrap, nothing opened."""
    return rewrap(VAULT.private, VAULT.public, platform.srk, archived.name, archived.outer)


def inner_key_of(platform, approval, archived):
    """ActivateCredential by EK and SRK of one chip."""
    (entry,) = approval.entries
    plaintext = platform.tpm.activate(ek_of(platform)[0], SRK_HANDLE, entry.inner_keys[0].credential, NOTHING)
    return Secret(read_inner_plaintext(plaintext.reveal(), PLATFORM_ID, archived.name))


@pytest.fixture
def circle(new_platform):
    """The archive of a first machine, a second one, its signing key, and the approval for it."""
    archived, second = Archived(new_platform()), new_platform()
    document, signing, request_id = ask(second, archived)
    return archived, second, signing, approve(archived, document, request_id)


def test_an_approved_key_lives_again_below_the_new_srk(circle):
    archived, second, _, approval = circle
    inner_key = inner_key_of(second, approval, archived)
    outer = release(archived, second)
    key = second.tpm.import_key(SRK_HANDLE, archived.drsk, outer, AES_128_CFB_SYMMETRIC, inner_key)
    assert second.tpm.loaded_name(SRK_HANDLE, key, archived.child) == (archived.name, CONTENT)
    second.tpm.persist(SRK_HANDLE, key, DRSK_HANDLE, OWNER)
    assert second.tpm.unseal(DRSK_HANDLE, archived.child, auth=NOTHING) == CONTENT


def test_the_new_certificates_open_on_the_new_chip(circle):
    _, second, signing, approval = circle
    key = second.tpm.activate(ek_of(second)[0], AK, approval.certificates.credential, NOTHING)
    first, other = (
        read_certificate(c) for c in read_bundle(decrypt(key, approval.certificates.ciphertext)).certificates
    )
    assert first[1] == ec_public_key(read_public(signing.key.public))
    assert other[1] == ec_public_key(read_public(second.tpm.attestation_key()))
    assert {identity_of(c) for c, _ in (first, other)} == {Identity(Role.PLATFORM, PLATFORM_ID)}


def test_no_other_chip_opens_what_was_approved(circle, new_platform):
    archived, second, _, approval = circle
    third = new_platform()
    with pytest.raises(InnerKeyMismatch):
        inner_key_of(third, approval, archived)
    with pytest.raises(InnerKeyMismatch):
        third.tpm.activate(ek_of(third)[0], AK, approval.certificates.credential, NOTHING)
    # Even with the inner key, the outer wrap is below the SRK of the chip that was approved.
    inner_key = inner_key_of(second, approval, archived)
    with pytest.raises(BlobRefused):
        third.tpm.import_key(SRK_HANDLE, archived.drsk, release(archived, second), AES_128_CFB_SYMMETRIC, inner_key)


def test_an_authority_alone_releases_nothing(circle):
    """A rewrap to any chip keeps the inner wrap: without an approval for that chip it does not open."""
    archived, second, _, _ = circle
    for guess in (bytes(16), b"\xff" * 16):
        with pytest.raises(BlobRefused):
            second.tpm.import_key(
                SRK_HANDLE, archived.drsk, release(archived, second), AES_128_CFB_SYMMETRIC, Secret(guess)
            )
