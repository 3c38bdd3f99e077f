"""Owner document and token: what does not belong together is refused, and a token costs what it must (PROTOCOL §6)."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import (
    BadAttributes,
    Blame,
    FingerprintDiffers,
    FingerprintUnconfirmed,
    MalformedStructure,
    SchemaViolation,
    SignatureInvalid,
    UntrustedSigner,
    WrongPassword,
)
from lms.model.keys import SHA256, digits
from lms.model.owner import Argon2id
from lms.model.secret import Secret
from lms.model.trust import Identity, Role
from lms.wire.anchor import confirm_owner, read_owned_token, read_owner
from lms.wire.certificates import make_ca, self_issue
from lms.wire.seed import open_seed, owner_keys
from lms.wire.signature import sign
from lms.wire.token_v1 import write_owner_document, write_token
from lms.wire.tpm.public import (
    NIST_P384,
    RECOVERY_ATTRIBUTES,
    Attributes,
    EccParameters,
    PublicArea,
    name_of,
    write_public,
)
from lms.wire.tpm.signature import sign_digest
from tests.support.documents import (
    NOW,
    PASSWORD,
    SoftwareSigner,
    make_owner,
    make_token,
    owner_document,
    signed_token,
    software_key,
    uuid,
)

WORLD, STRANGER = make_owner(), make_owner("stranger")


def document(value, signer=None):
    return sign(write_owner_document(value), signer or SoftwareSigner(WORLD.keys.ca, (value.ca_certificate,)))


@pytest.fixture(scope="module")
def value():
    return owner_document(WORLD.keys)


def test_the_untouched_owner_document_is_read(value):
    owner = read_owner(document(value))
    assert owner.fingerprint == WORLD.owner.fingerprint
    assert owner.token_id == owner.fingerprint.hex()
    assert (owner.approval_root_name, owner.recovery_key_name) == (
        name_of(value.approval_root),
        name_of(value.recovery_key),
    )


def test_a_fingerprint_that_differs_is_another_thing_than_none():
    theirs, ours = digits(STRANGER.owner.fingerprint), digits(WORLD.owner.fingerprint)
    assert confirm_owner(WORLD.owner.document, ours.lower().replace("-", " ")) == WORLD.owner
    for wrong in (theirs, ours[:-1], "x"):
        with pytest.raises(FingerprintDiffers, match=f"'{wrong}'") as refused:
            confirm_owner(WORLD.owner.document, wrong)
        assert refused.value.blame is Blame.DOCUMENT
    with pytest.raises(FingerprintUnconfirmed, match=ours):
        confirm_owner(WORLD.owner.document, "")


def test_fingerprint_is_that_of_the_protocol():
    owner = WORLD.owner
    spki = WORLD.keys.ca.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    parts = b"localmigration:owner:1" + spki + owner.approval_root_name + owner.recovery_key_name
    assert hashlib.sha256(parts).digest() == owner.fingerprint


@pytest.mark.parametrize("part", ["recovery_key", "approval_root", "root_signature"])
def test_swapped_part_of_another_owner_is_refused(value, part):
    """Even where the CA signed it: the approval root did not."""
    other = getattr(owner_document(STRANGER.keys), part)
    with pytest.raises(SignatureInvalid):
        read_owner(document(replace(value, **{part: other})))


def test_swapped_ca_is_refused(value):
    ca = make_ca(STRANGER.keys.ca, NOW)
    with pytest.raises(UntrustedSigner):
        read_owner(document(replace(value, ca_certificate=ca), WORLD.signer))
    with pytest.raises(SignatureInvalid):  # the stranger signs, but the root has vouched for another CA
        read_owner(document(replace(value, ca_certificate=ca), SoftwareSigner(STRANGER.keys.ca, (ca,))))


def test_root_signature_by_a_stranger_is_refused():
    with pytest.raises(SignatureInvalid):
        read_owner(document(owner_document(WORLD.keys, root_signer=STRANGER.keys.approval)))


def test_root_signature_over_something_else_is_refused(value):
    forged = sign_digest(WORLD.keys.approval, bytes(32))
    for signature in (forged, b"\0", forged[:-1]):
        with pytest.raises(SignatureInvalid):
            read_owner(document(replace(value, root_signature=signature)))


def test_document_signed_by_another_than_its_ca_is_refused(value):
    signer = WORLD.signer_of(Role.SIGNER, "signer")
    two = replace(WORLD.signer, certificates=(value.ca_certificate, value.ca_certificate))
    for other in (STRANGER.signer, signer, two):
        with pytest.raises(UntrustedSigner):
            read_owner(document(value, other))


def test_ca_that_is_no_ca_is_refused(value):
    identity = Identity(Role.SIGNER, uuid("signer"))
    p384 = ec.generate_private_key(ec.SECP384R1())
    for ca in (self_issue(identity, WORLD.keys.ca, NOW), make_ca(p384, NOW), b"garbage"):
        with pytest.raises(UntrustedSigner):
            read_owner(document(replace(value, ca_certificate=ca)))


def p384_public():
    point = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    unique = point.x.to_bytes(48, "big") + point.y.to_bytes(48, "big")
    return write_public(PublicArea(SHA256, RECOVERY_ATTRIBUTES, b"", EccParameters(NIST_P384, 128), unique))


def test_key_that_does_not_follow_its_template_is_refused(value):
    strange = software_key("strange", RECOVERY_ATTRIBUTES | Attributes.NO_DA).public
    for changes in (
        {"recovery_key": value.approval_root},
        {"approval_root": value.recovery_key},
        {"recovery_key": strange},
        {"recovery_key": p384_public()},
    ):
        with pytest.raises(BadAttributes):
            read_owner(document(replace(value, **changes)))
    with pytest.raises(MalformedStructure):
        read_owner(document(replace(value, recovery_key=value.recovery_key + b"\0")))


# The token


def test_the_untouched_token_opens():
    token, owner = read_owned_token(signed_token(WORLD))
    assert owner == WORLD.owner
    seed = open_seed(token, PASSWORD)
    assert seed == WORLD.seed
    assert owner_keys(seed).ca.public_key() == WORLD.keys.ca.public_key()


def test_password_is_normalised():
    decomposed = Secret(unicodedata.normalize("NFD", PASSWORD.reveal().decode()).encode())
    assert decomposed != PASSWORD
    assert open_seed(make_token(WORLD), decomposed) == WORLD.seed


def test_wrong_password_is_refused():
    for wrong in (b"wrong", b"", b"\xff"):
        with pytest.raises(WrongPassword):
            open_seed(make_token(WORLD), Secret(wrong))


@pytest.mark.parametrize(
    "changes",
    [
        {"cost": Argon2id(256 * 1024, 3, 5)},
        {"cost": Argon2id(256 * 1024, 4, 4)},
        {"salt": bytes(16)},
        {"nonce": bytes(12)},
        {"owner_document": STRANGER.owner.document},
        {"sealed": bytes(48)},
        {"sealed": b""},
    ],
)
def test_altered_token_is_refused_by_signature_and_by_opening(changes):
    token = make_token(WORLD)
    altered = replace(token, **changes)
    good = signed_token(WORLD)
    signature = good[good.index(b"<ds:Signature ") : good.index(b"</ds:Signature>") + 15]
    body, end = write_token(altered), b"</EmergencyRecoveryToken>"
    with pytest.raises((SignatureInvalid, SchemaViolation)):
        read_owned_token(body.replace(end, signature + end))
    with pytest.raises(WrongPassword):  # where the attacker holds the CA key too
        open_seed(altered, PASSWORD)


def test_token_by_the_ca_of_a_stranger_is_refused():
    with pytest.raises(UntrustedSigner):
        read_owned_token(sign(write_token(make_token(WORLD)), STRANGER.signer))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'm="262144"', b'm="262143"'),
        (b'm="262144"', b'm="2097153"'),
        (b'm="262144"', b'm="999999999999999999"'),
        (b't="3"', b't="2"'),
        (b't="3"', b't="17"'),
        (b'p="4"', b'p="0"'),
        (b'p="4"', b'p="9"'),
        (b'version="0x13"', b'version="0x10"'),
    ],
)
def test_costs_out_of_bounds_are_refused_when_read(old, new):
    """Nothing is allocated: the parameters never become a value."""
    good = write_token(make_token(WORLD))
    assert old in good
    with pytest.raises(SchemaViolation):
        read_owned_token(sign(good.replace(old, new), WORLD.signer))


@pytest.mark.parametrize("name", [b"Salt", b"Nonce"])
def test_salt_or_nonce_of_another_length_is_refused_when_read(name):
    good = write_token(make_token(WORLD))
    start, end = good.index(b"<" + name + b">") + len(name) + 2, good.index(b"</" + name + b">")
    with pytest.raises(SchemaViolation):
        read_owned_token(sign(good[:start] + b"AAAA" + good[end:], WORLD.signer))


def test_keys_of_a_seed_are_three_and_never_change():
    """Frozen: archives of decades hang on this derivation."""
    keys = owner_keys(Secret(bytes(range(32))))
    scalars = [k.private_numbers().private_value for k in (keys.ca, keys.approval, keys.recovery)]
    assert hashlib.sha256(b"".join(n.to_bytes(32, "big") for n in scalars)).hexdigest() == (
        "7cab2e4e685f07d5b1f7b97f8b6377de87366454e2279553b65b8988821f289e"
    )
