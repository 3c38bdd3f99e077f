"""Keys of applications are made or imported below the DRSK, can leave with it alone, and are registered at once."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lms.errors import BadRequest, BlobRefused, KeyUnsupported, MalformedStructure, NotMigratable
from lms.model.keys import DRSK_HANDLE, ApplicationAlgorithm, Name
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.acts import ACTS, Call
from lms.wire.tpm.application import algorithm_of_application, application_public_key, imported
from lms.wire.tpm.public import Attributes, read_public, write_public
from tests.support.platform import Platform

PLACE = {"application": "csp", "label": "/etc/a.pem"}
MIGRATABLE = Attributes.USER_WITH_AUTH | Attributes.NO_DA | Attributes.SIGN | Attributes.DECRYPT
KEYS = {
    ApplicationAlgorithm.ECC_P256: ec.generate_private_key(ec.SECP256R1()),
    ApplicationAlgorithm.ECC_P384: ec.generate_private_key(ec.SECP384R1()),
    ApplicationAlgorithm.RSA_2048: rsa.generate_private_key(65537, 2048),
}


def register(platform: Platform, options=(), **secrets: bytes) -> tuple[dict, Call]:
    """The act, and what it hands out."""
    call = Call(PLACE | dict(options), {word: Secret(value) for word, value in secrets.items()})
    return ACTS["register"](call, platform.setting), call


def loaded(platform: Platform, call: Call) -> tuple[SealedObject, Name]:
    """The areas that were handed out, and the Name under which the TPM takes them."""
    key = SealedObject(call.offered["public"].reveal(), call.offered["private"].reveal())
    return key, platform.tpm.loaded_name(DRSK_HANDLE, key, None)[0]


@pytest.mark.parametrize("algorithm", ApplicationAlgorithm)
def test_a_key_is_made_in_the_tpm_and_registered(provisioned, algorithm):
    answer, call = register(provisioned, {"algorithm": algorithm.value})
    key, name = loaded(provisioned, call)
    assert (answer["changed"], answer["collect"], answer["name"]) == (True, ["private", "public"], str(name))
    (entry,) = provisioned.state.registry.keys
    assert (entry.key, entry.name) == (key, name)
    assert read_public(key.public).attributes == MIGRATABLE | Attributes.SENSITIVE_DATA_ORIGIN
    assert algorithm_of_application(key.public) is algorithm


@pytest.mark.parametrize("algorithm", ApplicationAlgorithm)
def test_a_key_from_elsewhere_is_imported_once(provisioned, algorithm):
    public, sensitive = imported(KEYS[algorithm])
    answer, call = register(provisioned, public=public, sensitive=sensitive.reveal())
    key, name = loaded(provisioned, call)
    assert (key.public, answer["name"], answer["changed"]) == (public, str(name), True)
    assert read_public(public).attributes == MIGRATABLE
    wire = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert application_public_key(public).public_bytes(*wire) == KEYS[algorithm].public_key().public_bytes(*wire)
    again, second = register(provisioned, public=public, sensitive=sensitive.reveal())
    assert (again["changed"], loaded(provisioned, second)[0]) == (False, key)


def test_what_is_no_key_of_a_tpm_is_refused(provisioned):
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP521R1())):
        with pytest.raises(KeyUnsupported):
            imported(key)
    for other in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(3, 2048), None):
        with pytest.raises(KeyUnsupported):
            imported(other)
    with pytest.raises(BadRequest, match="one of ecc-p256, ecc-p384, rsa-2048"):
        register(provisioned, {"algorithm": "rsa-1024"})
    assert provisioned.state.registry.entries == ()


def test_halves_that_do_not_belong_together_are_refused(provisioned):
    (public, sensitive), (other, _) = imported(KEYS[ApplicationAlgorithm.ECC_P256]), imported(
        ec.generate_private_key(ec.SECP256R1())
    )  # fmt: skip
    with pytest.raises(BadRequest, match="that of another key"):
        register(provisioned, public=other, sensitive=sensitive.reveal())
    with pytest.raises(MalformedStructure):
        register(provisioned, public=public, sensitive=sensitive.reveal()[:-1])
    with pytest.raises(BadRequest, match="more than one thing"):
        register(provisioned, public=public, sensitive=sensitive.reveal(), private=b"")
    with pytest.raises(BadRequest, match="more than one thing"):
        register(provisioned, {"algorithm": "ecc-p256"}, public=public, sensitive=sensitive.reveal())
    with pytest.raises(BadRequest, match="more than one thing"):
        register(provisioned, sensitive=sensitive.reveal())
    assert provisioned.state.registry.entries == ()
    assert register(provisioned, public=public, sensitive=sensitive.reveal())[0]["changed"]


@pytest.mark.parametrize("fixed", [Attributes.FIXED_TPM | Attributes.FIXED_PARENT, Attributes.FIXED_PARENT])
def test_a_key_that_could_not_leave_again_is_not_imported(provisioned, fixed):
    public, sensitive = imported(KEYS[ApplicationAlgorithm.ECC_P256])
    area = read_public(public)
    bound = write_public(type(area)(area.name_alg, area.attributes | fixed, b"", area.parameters, area.unique))
    with pytest.raises(NotMigratable):
        register(provisioned, public=bound, sensitive=sensitive.reveal())
    assert provisioned.state.registry.entries == ()


def test_an_imported_key_loads_below_this_key_alone(provisioned, platform, token):
    _, call = register(provisioned, **dict(zip(("public", "sensitive"), _revealed(), strict=True)))
    key, _ = loaded(provisioned, call)
    platform.provision(token)
    with pytest.raises(BlobRefused):
        platform.tpm.loaded_name(DRSK_HANDLE, key, None)


def _revealed() -> tuple[bytes, bytes]:
    public, sensitive = imported(KEYS[ApplicationAlgorithm.RSA_2048])
    return public, sensitive.reveal()
