"""What somebody sees who reads along on the bus: no secret, ever."""

from __future__ import annotations

from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.types import (
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPMS_SENSITIVE_CREATE,
)

from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, VAULT_HANDLE, Algorithm
from lms.model.secret import Secret
from lms.ports import Step
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.policy import OWNER_AUTHORISED
from lms.wire.tpm.public import (
    Attributes,
    name_of,
    sealed_template,
    signing_template,
    user_key_template,
    vault_template,
)
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from tests.adapters.tpm.bench import NOTHING, OWNER, PROBE, plain_esapi

SEALED = Secret(b"what was sealed for the owner")
AUTH = Secret(b"authorisation of the object")
CREDENTIAL = Secret(b"activated bytes")


class Sniffer:
    """Everything that crossed the bus."""

    def __init__(self) -> None:
        self.seen = bytearray()

    def __call__(self, command: bytes, response: bytes) -> None:
        self.seen += response or command

    def saw(self, secret: Secret) -> bool:
        return secret.reveal() in self.seen


def test_no_secret_crosses_the_bus(new_platform):
    sniffer = Sniffer()
    platform = new_platform(observe=sniffer)
    tpm, drsk = platform.tpm, platform.make_drsk()
    owned = tpm.create(DRSK_HANDLE, sealed_template(Attributes.NO_DA, OWNER_AUTHORISED), auth=NOTHING, data=SEALED)
    assert tpm.unseal_as_owner(DRSK_HANDLE, owned, OWNER) == SEALED
    probe = tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=SEALED)
    assert tpm.loaded_name(SRK_HANDLE, drsk.key, probe)[1] == SEALED
    guarded = tpm.create(SRK_HANDLE, PROBE, auth=AUTH, data=SEALED)
    assert tpm.unseal(SRK_HANDLE, guarded, auth=AUTH) == SEALED
    step = Step(tpm.create(DRSK_HANDLE, user_key_template(platform.algorithm), auth=AUTH, data=NOTHING), AUTH)
    below = tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=SEALED, path=(step,))
    assert tpm.unseal(DRSK_HANDLE, below, auth=NOTHING, path=(step,)) == SEALED
    assert tpm.loaded_name(DRSK_HANDLE, below, None, (step,))[0] == name_of(below.public)
    signing = tpm.create(SRK_HANDLE, signing_template(), auth=AUTH, data=NOTHING)
    tpm.sign(SRK_HANDLE, signing, AUTH, bytes(32))
    tpm.certify(SRK_HANDLE, signing, AUTH)
    made = platform.duplicate(platform.srk, platform.msa.branch, platform.msa.approve_parent(platform.srk))
    tpm.import_key(SRK_HANDLE, platform.drsk, made.outer, AES_128_CFB_SYMMETRIC, made.inner_key)
    vault = tpm.create(SRK_HANDLE, vault_template(), auth=AUTH, data=NOTHING)
    tpm.persist(SRK_HANDLE, vault, VAULT_HANDLE, OWNER)
    kept = platform.duplicate(vault.public, platform.msa.branch, platform.msa.approve_parent(vault.public))
    assert tpm.rewrap(VAULT_HANDLE, AUTH, name_of(platform.drsk), kept.outer, platform.srk)
    ek = tpm.endorsement_keys()[0].public
    credential = make_credential(ek, CREDENTIAL.reveal(), name_of(platform.srk))
    assert tpm.activate(name_of(ek), SRK_HANDLE, credential, NOTHING) == CREDENTIAL
    assert tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER) == platform.srk
    number = Secret(tpm.random(32))
    tpm.set_owner_auth(OWNER, Secret(b"the next owner authorisation"))
    tpm.evict(DRSK_HANDLE, Secret(b"the next owner authorisation"))

    secrets = (OWNER, Secret(b"the next"), SEALED, AUTH, made.inner_key, kept.inner_key, CREDENTIAL, number)
    assert sniffer.seen
    assert [sniffer.saw(secret) for secret in secrets] == [False] * len(secrets)
    assert platform.srk[2:] in sniffer.seen


def test_a_password_session_shows_all_of_it(machine):
    """The sniffer works."""
    sniffer = Sniffer()
    sensitive = TPMS_SENSITIVE_CREATE(data=TPM2B_SENSITIVE_DATA(SEALED.reveal()))
    template, _ = TPM2B_PUBLIC.unmarshal(PROBE)
    with plain_esapi(machine.tcti, sniffer) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.OWNER, OWNER.reveal())
        esapi.create_primary(TPM2B_SENSITIVE_CREATE(sensitive), template, ESYS_TR.OWNER)
    assert sniffer.saw(OWNER)
    assert sniffer.saw(SEALED)
