"""A root operator with every authorisation of the authority's TPM: the vault's, the owner's, and all that is stored.

Blind means that none of it helps: what is missing is the inner key, which went to the owner's recovery key. The
control is the same play by the same operator, to whom the inner key was given.
"""

from __future__ import annotations

import pytest
from tpm2_pytss.constants import ESYS_TR, TPM2_CC
from tpm2_pytss.TSS2_Exception import TSS2_Exception
from tpm2_pytss.types import TPM2B_PRIVATE, TPM2B_PUBLIC, TPM2B_SENSITIVE_CREATE, TPMT_SYM_DEF_OBJECT

from lms.errors import BlobRefused, InnerKeyMismatch, MalformedStructure
from lms.model.keys import SHA256, SRK_HANDLE, Algorithm
from lms.service.setting import NO_SECRET
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.digests import digest
from lms.wire.tpm.marshal import Writer
from lms.wire.tpm.public import Attributes, drsk_template, name_of, sealed_template, template_of
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC
from tests.adapters.tpm.bench import plain_esapi
from tests.support.migration import ChipAuthority, archived_at
from tests.support.operator import GUESSES, Operator, SoftwareKey, loot_of
from tests.support.platform import PRECIOUS

REFUSED = (TSS2_Exception, BlobRefused, MalformedStructure)
AK = 0


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """An authority with a TPM and a platform's package; the platform's child, and the inner key for the controls."""
    with archived_at(ChipAuthority, tmp_path_factory.mktemp("scene")) as (machine, office, authority, child):
        with authority.vault.transaction() as transaction:
            loot = loot_of(transaction, machine.state.platform_id)
        yield authority, loot, child, loot.inner_key(office.world)


@pytest.fixture
def operator(scene):
    authority, loot, child, _ = scene
    with plain_esapi(authority.machine.tcti) as esapi:
        yield Operator(esapi, authority.identity, loot, child)


@pytest.fixture
def inner_key(scene):
    return scene[3]


def import_below_the_vault(operator, inner_key):
    return operator.imported(operator.vault, operator.loot.blob.outer, inner_key) == PRECIOUS.reveal()


def import_below_the_srk(operator, inner_key):
    outer = operator.rewrapped(operator.srk)
    return operator.imported(operator.srk, outer, inner_key) == PRECIOUS.reveal()


def rewrap_to_a_key_in_software(operator, inner_key):
    own = SoftwareKey()
    return own.opens(operator.loot, operator.rewrapped_to(own.public), inner_key)


def rewrap_to_no_key_at_all(operator, inner_key):
    return operator.stripped(inner_key)


PLAYS = [import_below_the_vault, import_below_the_srk, rewrap_to_a_key_in_software, rewrap_to_no_key_at_all]
plays = pytest.mark.parametrize("play", PLAYS, ids=[play.__name__ for play in PLAYS])


@plays
@pytest.mark.parametrize("guess", GUESSES, ids=["none", "zeros", "ones", "guessed"])
def test_every_authorisation_without_the_inner_key_opens_nothing(operator, play, guess):
    with pytest.raises(REFUSED):
        play(operator, guess)


@plays
def test_with_the_inner_key_the_same_operator_opens_it(operator, play, inner_key):
    """The plays are played rightly: nothing but the inner key was missing."""
    assert play(operator, inner_key)


def parents(operator):
    return {"vault": operator.vault, "srk": operator.srk}


@pytest.mark.parametrize("parent", ["vault", "srk"])
def test_a_blob_is_no_key_to_load(operator, parent, inner_key):
    key, outer = operator.loot.key, operator.loot.blob.outer
    above = parents(operator)[parent]
    with pytest.raises(TSS2_Exception), operator.loaded(above, TPM2B_PRIVATE.unmarshal(outer.duplicate)[0], key.public):
        pass
    assert import_below_the_vault(operator, inner_key)


@pytest.mark.parametrize("parent", ["vault", "srk"])
def test_children_hang_below_the_platforms_key_only(operator, parent):
    above = parents(operator)[parent]
    with pytest.raises(TSS2_Exception):
        operator.unsealed(above, operator.child)
    own, _ = TPM2B_PUBLIC.unmarshal(sealed_template(Attributes.USER_WITH_AUTH | Attributes.NO_DA))
    sensitive = TPM2B_SENSITIVE_CREATE()
    sensitive.sensitive.data = b"the operator's own"
    private, public, *_ = operator.esapi.create(above, sensitive, own)
    with operator.loaded(above, private, bytes(public.marshal())) as sealed:
        assert bytes(operator.esapi.unseal(sealed)) == b"the operator's own"


@pytest.mark.parametrize("kept", ["vault", "srk"])
def test_the_vault_does_not_leave_its_tpm(operator, kept):
    esapi, symmetric = operator.esapi, TPMT_SYM_DEF_OBJECT.unmarshal(AES_128_CFB_SYMMETRIC)[0]
    with operator.policy(TPM2_CC.Duplicate) as session, pytest.raises(TSS2_Exception):
        esapi.duplicate(parents(operator)[kept], ESYS_TR.NULL, None, symmetric, session1=session)
    code = Writer().u32(0x16C).u32(TPM2_CC.Duplicate)
    movable = drsk_template(Algorithm.ECC_P256, digest(SHA256, bytes(32), bytes(code)))
    private, public, *_ = esapi.create(operator.srk, TPM2B_SENSITIVE_CREATE(), TPM2B_PUBLIC.unmarshal(movable)[0])
    with (
        operator.loaded(operator.srk, private, bytes(public.marshal())) as own,
        operator.policy(TPM2_CC.Duplicate) as session,
    ):
        assert esapi.duplicate(own, ESYS_TR.NULL, None, symmetric, session1=session)


def test_no_key_of_the_tpm_activates_what_is_for_the_recovery_key(scene):
    authority, loot, _, _ = scene
    tpm = authority.tpm
    (inner,) = loot.blob.inner_keys
    for ek in tpm.endorsement_keys():
        for handle, public in ((AK, tpm.attestation_key()), (SRK_HANDLE, tpm.read_public(SRK_HANDLE))):
            with pytest.raises(InnerKeyMismatch):
                tpm.activate(name_of(ek.public), handle, inner.credential, NO_SECRET)
            ours = make_credential(ek.public, b"k" * 16, name_of(public))
            assert tpm.activate(name_of(ek.public), handle, ours, NO_SECRET).reveal() == b"k" * 16


def test_the_vault_is_no_primary_that_could_be_derived_again(operator):
    """A primary key follows from its template: as one, the vault would be the SRK with an empty authorisation."""
    template, _ = TPM2B_PUBLIC.unmarshal(template_of(operator.identity.vault))
    derived = set()
    for auth in (b"", operator.identity.chip.vault_auth.reveal()):
        sensitive = TPM2B_SENSITIVE_CREATE()
        sensitive.sensitive.userAuth = auth
        key, public, *_ = operator.esapi.create_primary(sensitive, template, ESYS_TR.OWNER)
        operator.esapi.flush_context(key)
        derived.add(name_of(bytes(public.marshal())))
    srk = bytes(operator.esapi.read_public(operator.srk)[0].marshal())
    assert derived == {name_of(srk)}
    assert name_of(operator.identity.vault) not in derived
