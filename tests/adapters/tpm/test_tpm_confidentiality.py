"""What somebody sees who reads along on the bus: no secret, ever."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import FunctionType
from typing import Any, get_args, get_type_hints

from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.types import (
    TPM2B_AUTH,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPMS_SENSITIVE_CREATE,
)

from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, VAULT_HANDLE, Algorithm
from lms.model.secret import Secret
from lms.ports import Step, Tpm
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.policy import OWNER_AUTHORISED, auth_value, pcrs
from lms.wire.tpm.public import (
    Attributes,
    ak_template,
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
PIN, ENDORSED = Secret(b"a PIN that is asked for"), Secret(b"the endorsement authorisation")


class Sniffer:
    """Everything that crossed the bus."""

    def __init__(self) -> None:
        self.seen = bytearray()

    def __call__(self, command: bytes, response: bytes) -> None:
        self.seen += response or command

    def saw(self, secret: Secret) -> bool:
        return secret.reveal() in self.seen


class Called:
    """A TPM, and which of its methods were called."""

    def __init__(self, tpm: Tpm) -> None:
        self._tpm, self.names = tpm, set()

    def __getattr__(self, name: str) -> Any:
        self.names.add(name)
        return getattr(self._tpm, name)


def within(hint: Any) -> Iterator[Any]:
    """A type, and all that it is made of."""
    yield hint
    for part in (*get_args(hint), *(get_type_hints(hint).values() if is_dataclass(hint) else ())):
        yield from within(part)


def methods_with_a_secret() -> set[str]:
    """Those of the port that take or return one."""
    return {
        name
        for name, method in vars(Tpm).items()
        if isinstance(method, FunctionType) and any(Secret in within(hint) for hint in get_type_hints(method).values())
    }


def test_no_secret_crosses_the_bus(new_platform):
    sniffer = Sniffer()
    platform = new_platform(observe=sniffer)
    platform.tpm = tpm = Called(platform.tpm)
    drsk = platform.make_drsk()
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
    asked = auth_value(pcrs(tpm.read_pcrs((7,))))
    bound = tpm.create(DRSK_HANDLE, sealed_template(Attributes(0), asked), auth=PIN, data=SEALED)
    assert tpm.unseal_by_policy(DRSK_HANDLE, bound, (7,), PIN) == SEALED
    ek = tpm.endorsement_keys()[0].public
    credential = make_credential(ek, CREDENTIAL.reveal(), name_of(platform.srk))
    assert tpm.activate(name_of(ek), SRK_HANDLE, credential, NOTHING) == CREDENTIAL
    assert tpm.ensure_srk(SRK_HANDLE, Algorithm.ECC_P256, OWNER) == platform.srk
    number = Secret(tpm.random(32))
    tpm.set_owner_auth(OWNER, Secret(b"the next owner authorisation"))
    tpm.evict(DRSK_HANDLE, Secret(b"the next owner authorisation"))
    with plain_esapi(platform.machine.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, ENDORSED.reveal())
    tpm.begin(ENDORSED)
    tpm.trust_salt(name_of(platform.srk))
    assert tpm.endorsement_keys()[0].public == ek
    ak = tpm.attestation_key()
    tpm.create_certified(SRK_HANDLE, signing_template())
    tpm.certify(SRK_HANDLE, None, NOTHING)
    assert tpm.activate(name_of(ek), SRK_HANDLE, credential, ENDORSED) == CREDENTIAL
    assert tpm.activate(name_of(ek), 0, make_credential(ek, CREDENTIAL.reveal(), name_of(ak)), ENDORSED) == CREDENTIAL

    assert methods_with_a_secret() <= tpm.names
    inner_keys = (made.inner_key, kept.inner_key)
    secrets = (OWNER, Secret(b"the next"), SEALED, AUTH, *inner_keys, CREDENTIAL, number, PIN, ENDORSED)
    assert sniffer.seen
    assert [sniffer.saw(secret) for secret in secrets] == [False] * len(secrets)
    assert platform.srk[2:] in sniffer.seen


def test_the_methods_with_a_secret_are_found():
    """In what they take, in what they return, and inside of either."""
    assert {"begin", "unseal_by_policy", "duplicate", "loaded_name"} <= methods_with_a_secret()
    assert not {"kept", "read_pcrs", "endorsement_keys"} & methods_with_a_secret()
    assert Secret in within(tuple[Step, ...])


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


def test_a_password_session_shows_a_pin_and_what_it_opens_and_the_endorsement_authorisation(machine):
    template, _ = TPM2B_PUBLIC.unmarshal(PROBE)
    sensitive = TPMS_SENSITIVE_CREATE(userAuth=TPM2B_AUTH(PIN.reveal()), data=TPM2B_SENSITIVE_DATA(SEALED.reveal()))
    with plain_esapi(machine.tcti) as esapi:
        esapi.hierarchy_change_auth(ESYS_TR.ENDORSEMENT, ENDORSED.reveal())
        sealed, *_ = esapi.create_primary(TPM2B_SENSITIVE_CREATE(sensitive), template, ESYS_TR.OWNER)
        context = esapi.context_save(sealed)
    sniffer = Sniffer()
    with plain_esapi(machine.tcti, sniffer) as esapi:
        loaded = esapi.context_load(context)
        assert not sniffer.saw(PIN)
        esapi.tr_set_auth(loaded, PIN.reveal())
        esapi.unseal(loaded)
        esapi.tr_set_auth(ESYS_TR.ENDORSEMENT, ENDORSED.reveal())
        esapi.create_primary(None, TPM2B_PUBLIC.unmarshal(ak_template())[0], ESYS_TR.ENDORSEMENT)
    assert [sniffer.saw(secret) for secret in (PIN, SEALED, ENDORSED)] == [True] * 3
