"""A key that tpm_keys made is adopted when it is said, comes back as it was, and is shown as what it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import ApprovalInvalid, ApprovalPending, NotAdoptable, WeakerKey
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm, KeyType, Name
from lms.model.packages import DestinationKind
from lms.model.policies import PRESET_OWNER
from lms.service.acts import ACTS, Call
from lms.service.archive import archive
from lms.service.enroll import enroll_authority
from lms.service.enrolment import request_enrolment
from lms.wire.exchange_v1 import TRUST_LIST
from lms.wire.inspection import inspect_document
from lms.wire.package_v1 import read_package
from lms.wire.sheet import accept_sheet
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.policy import ADOPTED_OWNER_POLICY, CC_DUPLICATE, MK_POLICY, command_code
from lms.wire.tpm.public import DRSK_ATTRIBUTES, Attributes, drsk_template
from lms.wire.trust_list import read_trust_list
from tests.support.documents import NOW, make_owner
from tests.support.migration import BOTH_MODES, Office, approve_platform, restore
from tests.support.platform import OWNER_AUTH, PRECIOUS
from tests.support.tpm_keys import TpmKeys

OWN_SRK = 0x81000006
_ATTRIBUTES = 2 + 2 + 2
"""Where the attributes stand in TPM2B_PUBLIC: behind size, type and nameAlg."""
SAID = {
    "adopt": True,
    "weaker": True,
    "offline_token": False,
    "algorithm": Algorithm.RSA_2048,
    "srk_handle": OWN_SRK,
}


@pytest.fixture
def tpm_keys(machines, tmp_path):
    """A machine of tpm_keys, with a child below its key; the files that tpm_keys has of it."""
    machine = machines()
    kept = TpmKeys(machine.machine.tcti, tmp_path / "tpm_keys")
    kept.provision()
    kept.seal(PRECIOUS.reveal())
    return machine, kept


def test_a_key_of_tpm_keys_comes_back_by_token_as_it_was(tpm_keys, machines, token):
    machine, kept = tpm_keys
    name = machine.key_at()
    state, changed = machine.provision(token, **SAID)
    assert changed
    assert machine.key_at() == state.require_drsk().name == name
    assert (state.require_drsk().policy, state.require_drsk().birth) == (PRESET_OWNER, None)
    assert machine.provision(token, **SAID) == (state, False)
    machine.enroll()
    machine.archive()
    (package,) = machine.packages
    (key,) = read_package(package.read_bytes()).content.migrating_keys
    assert (key.type, key.policy, key.certification) == (KeyType.MK, PRESET_OWNER, None)
    board = machines(disk_of=machine.directory)
    assert board.restore(token, package.read_bytes()).changed
    assert board.key_at() == name
    assert kept.unseal(board.machine.tcti) == PRECIOUS.reveal()
    assert (board.state.require_drsk().policy, board.state.require_drsk().birth) == (PRESET_OWNER, None)
    assert len(board.packages) == 2


def test_a_machine_that_knows_nothing_gets_it_back_by_its_digits(tpm_keys, machines, token):
    machine, kept = tpm_keys
    machine.provision(token, **SAID)
    machine.enroll()
    machine.archive()
    (package,) = machine.packages
    bare = machines()
    assert bare.restore(token, package.read_bytes(), confirmed_key=machine.state.require_drsk().name.digits).changed
    assert kept.unseal(bare.machine.tcti) == PRECIOUS.reveal()
    assert (bare.state.require_drsk().policy, bare.state.require_drsk().birth) == (PRESET_OWNER, None)


def test_its_blob_is_here_so_that_it_can_be_put_back(tpm_keys, token):
    machine, kept = tpm_keys
    machine.provision(token, **SAID)
    machine.evict(SRK_HANDLE)  # that of tpm_keys
    machine.evict()
    assert machine.key_at() is None
    assert machine.provision(token, **SAID)[1]
    assert kept.unseal(machine.machine.tcti) == PRECIOUS.reveal()


@pytest.fixture(**BOTH_MODES)
def world(tmp_path, tpm_keys, request):
    """The same machine, adopted and approved; its owner and an authority."""
    machine, kept = tpm_keys
    office, directory = Office(), tmp_path / "world"
    directory.mkdir()
    authority = request.param(directory, office)
    machine.now, machine.connect = NOW, authority.connect
    machine.provision(office.token, **SAID)
    approve_platform(machine, office)
    yield machine, kept, office, authority
    authority.close()


def test_it_comes_back_through_a_blind_authority(world, machines):
    machine, kept, office, authority = world
    enroll_authority(machine.setting, None, OWNER_AUTH)
    archive(machine.setting)
    board = machines(disk_of=machine.directory)
    board.now, board.connect = NOW, authority.connect
    with pytest.raises(ApprovalPending):
        restore(board)
    pending = board.store.load_pending()
    done = restore(board, approval=office.approve(pending.document))
    assert done.changed
    assert board.key_at() == done.state.require_drsk().name == machine.key_at()
    assert kept.unseal(board.machine.tcti) == PRECIOUS.reveal()
    assert (done.state.require_drsk().policy, done.state.require_drsk().birth) == (PRESET_OWNER, None)
    assert {d.kind for d in done.state.destinations} == {DestinationKind.MIGRATION_AUTHORITY}
    assert len(authority.packages(machine.state.platform_id)) == 2


def test_a_machine_with_nothing_but_its_sheet_gets_it_back(world, machines):
    machine, kept, office, authority = world
    enroll_authority(machine.setting, None, OWNER_AUTH)
    archive(machine.setting)
    bare = machines()
    bare.now, bare.connect = NOW, authority.connect
    sheet = accept_sheet(machine.state.enrolment.sheet, office.world.owner, None, NOW)
    known = {"sheet": sheet, "owner": office.world.owner}
    with pytest.raises(ApprovalPending):
        restore(bare, **known)
    pending = bare.store.load_pending()
    annex = authority.annex(pending.request_id)
    assert restore(bare, **known, approval=office.approve(pending.document, annex)).changed
    assert kept.unseal(bare.machine.tcti) == PRECIOUS.reveal()


def test_with_its_sheet_it_is_the_platform_that_it_was(world, machines):
    machine, _, office, _ = world
    orphan = machines(tpm_of=machine.directory)
    orphan.now = NOW
    sheet = accept_sheet(machine.state.enrolment.sheet, office.world.owner, None, NOW)
    state, _ = orphan.provision(office.token, **SAID, sheet=sheet)
    assert (state.platform_id, state.require_drsk().policy) == (machine.state.platform_id, PRESET_OWNER)


def test_the_sheet_that_is_granted_names_the_preset(world):
    machine, _, office, _ = world
    sheet = office.sheets[machine.state.platform_id]
    assert read_sheet(sheet)[0].policy == PRESET_OWNER
    assert machine.state.enrolment.sheet == sheet
    assert inspect_document(sheet)["weaker"]


def test_a_vault_that_the_owners_root_did_not_approve_gets_nothing(world):
    machine, _, office, _ = world
    trusted = read_trust_list(office.trust_list, office.world.owner)
    (listed,) = trusted.authorities
    (approval,) = listed.approvals
    stranger = make_owner("stranger").approve(approval.approved_policy)
    for forged in (stranger, replace(approval, approved_policy=bytes(32))):
        changed = replace(trusted, authorities=(replace(listed, approvals=(forged,)),))
        document = sign(TRUST_LIST.write(changed), office.world.signer)
        machine.store.save(replace(machine.state, trust_list=document))
        with pytest.raises(ApprovalInvalid):
            enroll_authority(machine.setting, None, OWNER_AUTH)
    assert machine.state.destinations == ()
    machine.store.save(replace(machine.state, trust_list=office.trust_list))
    assert enroll_authority(machine.setting, None, OWNER_AUTH)[1]


def test_it_is_taken_only_when_its_weakness_is_said(tpm_keys, token):
    machine, _ = tpm_keys
    with pytest.raises(WeakerKey):
        machine.provision(token, **SAID | {"weaker": False})
    assert machine.store.load() is None
    assert machine.provision(token, **SAID)[1]


def test_no_weaker_key_is_ever_made(machines, token):
    state, _ = machines().provision(token, weaker=True)
    assert not state.require_drsk().policy.owner_alone


def place(machine, template: bytes) -> None:
    """Put a new key to the handle, below the SRK of ours."""
    machine.tpm.trust_salt(machine.state.srk_name)
    born = machine.tpm.create_certified(SRK_HANDLE, template)
    machine.tpm.persist(SRK_HANDLE, born.key, DRSK_HANDLE, OWNER_AUTH)


def like(attributes=DRSK_ATTRIBUTES, policy=ADOPTED_OWNER_POLICY) -> bytes:
    template = drsk_template(Algorithm.ECC_P256, policy)
    return template[:_ATTRIBUTES] + attributes.to_bytes(4, "big") + template[_ATTRIBUTES + 4 :]


_BARE = DRSK_ATTRIBUTES & ~Attributes.NO_DA
GOOD = {"with noDA": like(), "as tpm_keys": like(_BARE)}
ODD = {
    "bare command code": like(_BARE, command_code(CC_DUPLICATE)),
    "no owner": like(policy=b""),
    "an MK's policy": like(policy=MK_POLICY),
    "other attributes": like(DRSK_ATTRIBUTES | Attributes.ADMIN_WITH_POLICY),
    "its inner wrap forced": like(DRSK_ATTRIBUTES | Attributes.ENCRYPTED_DUPLICATION),
}


@pytest.mark.parametrize("template", [*GOOD.values(), *ODD.values()], ids=[*GOOD, *ODD])
def test_only_a_key_as_tpm_keys_makes_it_is_taken(provisioned, token, template):
    provisioned.evict()
    place(provisioned, template)
    (provisioned.state_directory / "state.json").unlink()
    if template in ODD.values():
        with pytest.raises(NotAdoptable):
            provisioned.provision(token, adopt=True, weaker=True)
        assert provisioned.store.load() is None
    else:
        assert provisioned.provision(token, adopt=True, weaker=True)[1]


def said_of(machine) -> list[dict]:
    return [ACTS[verb](Call({}, {}), machine.setting) for verb in ("status", "keys")]


def test_what_is_shown_says_so(tpm_keys, provisioned, token):
    machine, _ = tpm_keys
    machine.provision(token, **SAID)
    for said in said_of(machine):
        assert "owner authorisation alone" in said["weaker"]
        assert said["birth-evidence"] is False
    assert said_of(machine)[0]["one-party"] == "owner-auth"
    strong, keys = said_of(provisioned)
    assert (strong["weaker"], strong["birth-evidence"]) == (None, True)
    assert "weaker" not in keys
    machine.enroll()
    machine.archive()
    (key,) = inspect_document(machine.packages[0].read_bytes())["keys"]
    assert (key["type"], key["birth-evidence"]) == ("MK", False)
    assert "owner authorisation alone" in key["weaker"]


def test_the_approver_sees_it(world):
    machine = world[0]
    said = inspect_document(request_enrolment(machine.setting)[0])
    assert (said["key"], said["birth-evidence"]) == (Name(machine.key_at()).digits, False)
    assert "owner authorisation alone" in said["weaker"]
