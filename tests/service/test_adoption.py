"""A recoverable key that outlived its state is taken over: only its owner's, when asked, and never called proven."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import HandleOccupied, KeyNotFound, NotAdoptable, SheetMismatch, TakeOver, UntrustedSigner
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.model.packages import DestinationKind
from lms.model.policies import DuplicationPolicy
from lms.model.secret import Secret
from lms.names import OWNER, SHEET
from lms.service.acts import ACTS, Call
from lms.service.archive import archive
from lms.service.enroll import enroll_authority
from lms.service.judging_sheets import judged_sheet
from lms.service.provision import policy_of
from lms.service.setting import NO_SECRET
from lms.wire.certificates import OwnerSigner
from lms.wire.package_v1 import read_package
from lms.wire.signature import sign
from lms.wire.token_v1 import read_sheet, write_sheet
from lms.wire.tpm.policy import duplication_policy_digest
from lms.wire.tpm.public import DRSK_ATTRIBUTES, Attributes, drsk_template
from tests.support.documents import NOW, make_owner
from tests.support.migration import BOTH_MODES, Office, approve_platform, enrolled
from tests.support.platform import OWNER_AUTH, PRECIOUS

STORAGE_HANDLE = 0x81000010
_ATTRIBUTES = 2 + 2 + 2
"""Where the attributes stand in TPM2B_PUBLIC: behind size, type and nameAlg."""


@pytest.fixture
def orphan(machines, archived_machine):
    """A machine that lost its disk: its TPM alone is what it was."""
    return machines(tpm_of=archived_machine)


def place(platform, template: bytes, parent: int = SRK_HANDLE, handle: int = DRSK_HANDLE) -> None:
    """Put a new key to a handle of a machine that has none."""
    platform.tpm.trust_salt(platform.state.srk_name)
    born = platform.tpm.create_certified(parent, template)
    platform.tpm.persist(parent, born.key, handle, OWNER_AUTH)


def test_a_key_without_its_state_is_taken_over(orphan, machines, token, child):
    name = orphan.key_at()
    state, changed = orphan.provision(token, adopt=True)
    assert changed
    assert orphan.key_at() == state.require_drsk().name == name
    assert state.require_drsk().birth is None
    assert orphan.unseal(child) == PRECIOUS
    orphan.enroll()
    orphan.archive()
    (package,) = orphan.packages
    (key,) = read_package(package.read_bytes()).content.migrating_keys
    assert key.certification is None
    board = machines(disk_of=orphan.directory)
    assert board.restore(token, package.read_bytes()).changed
    assert board.unseal(child) == PRECIOUS
    assert board.state.require_drsk().birth is None


def test_status_says_that_nothing_proves_its_birth(orphan, provisioned, token):
    orphan.provision(token, adopt=True)
    assert ACTS["status"](Call({}, {}), orphan.setting)["birth-evidence"] is False
    assert ACTS["status"](Call({}, {}), provisioned.setting)["birth-evidence"] is True


def test_it_is_never_done_unasked(orphan, token):
    with pytest.raises(HandleOccupied):
        orphan.provision(token)
    assert orphan.store.load() is None


def test_asked_twice_it_is_already_so(orphan, provisioned, token):
    state, _ = orphan.provision(token, adopt=True)
    assert orphan.provision(token, adopt=True) == (state, False)
    born = provisioned.state
    assert provisioned.provision(token, adopt=True) == (born, False)
    assert born.require_drsk().birth is not None


def test_where_there_is_no_key_none_is_made(platform, token):
    with pytest.raises(KeyNotFound):
        platform.provision(token, adopt=True)
    assert platform.store.load() is None
    assert platform.provision(token)[1]


def test_a_key_keeps_the_branches_that_it_has(machines, provisioned_machine, token):
    orphan = machines(tpm_of=provisioned_machine)
    state, _ = orphan.provision(token, adopt=True, offline_token=False)
    assert state.require_drsk().policy == policy_of(token.owner, offline_token=True)
    assert orphan.provision(token, adopt=True, offline_token=False) == (state, False)


def test_another_owners_key_is_not_taken(orphan, stranger):
    with pytest.raises(NotAdoptable):
        orphan.provision(stranger, adopt=True)
    assert orphan.store.load() is None


def test_another_programs_key_is_not_taken(platform, token):
    platform.place_foreign_key()
    with pytest.raises(NotAdoptable):
        platform.provision(token, adopt=True)


def _odd(token, policy=None, attributes=DRSK_ATTRIBUTES, algorithm=Algorithm.ECC_P256) -> bytes:
    digest = duplication_policy_digest(policy or policy_of(token.owner, offline_token=True))
    template = drsk_template(algorithm, digest)
    return template[:_ATTRIBUTES] + attributes.to_bytes(4, "big") + template[_ATTRIBUTES + 4 :]


def _with_a_strangers_branch(token) -> DuplicationPolicy:
    roots = (token.owner.approval_root_name, make_owner("stranger").owner.approval_root_name)
    return DuplicationPolicy.of(roots, (token.owner.recovery_key_name,))


ODD = {
    "a further way out": lambda token: _odd(token, policy=_with_a_strangers_branch(token)),
    "other attributes": lambda token: _odd(token, attributes=DRSK_ATTRIBUTES & ~Attributes.NO_DA),
    "another algorithm": lambda token: _odd(token, algorithm=Algorithm.RSA_2048),
}


@pytest.mark.parametrize("make", [lambda token: _odd(token), *ODD.values()], ids=["good", *ODD])
def test_only_a_key_as_we_make_it_is_taken(provisioned, token, make):
    provisioned.evict()
    place(provisioned, make(token))
    (provisioned.state_directory / "state.json").unlink()
    if make in ODD.values():
        with pytest.raises(NotAdoptable):
            provisioned.provision(token, adopt=True)
        assert provisioned.store.load() is None
    else:
        assert provisioned.provision(token, adopt=True)[1]


def test_a_key_below_another_parent_is_not_taken(provisioned, token):
    provisioned.evict()
    place(provisioned, _odd(token), handle=STORAGE_HANDLE)
    place(provisioned, _odd(token), parent=STORAGE_HANDLE)
    (provisioned.state_directory / "state.json").unlink()
    with pytest.raises(NotAdoptable, match="below"):
        provisioned.provision(token, adopt=True)
    assert provisioned.store.load() is None


def test_an_adopted_key_that_is_gone_comes_back_by_a_restore_only(orphan, token, child):
    orphan.provision(token, adopt=True)
    orphan.enroll()
    orphan.archive()
    orphan.evict()
    with pytest.raises(KeyNotFound):
        orphan.provision(token, adopt=True)
    (package,) = orphan.packages
    orphan.restore(token, package.read_bytes())
    assert orphan.unseal(child) == PRECIOUS
    orphan.evict()
    assert orphan.provision(token, adopt=True)[1]  # now its blob is here


# With a sheet it is the platform that it was.


@pytest.fixture(**BOTH_MODES)
def world(tmp_path, machines, request):
    """An enrolled machine, and its TPM with an empty disk."""
    office = Office()
    directory = tmp_path / "world"
    directory.mkdir()
    authority = request.param(directory, office)
    machine = enrolled(machines(), office, authority)
    orphan = machines(tpm_of=machine.directory)
    orphan.now, orphan.connect = NOW, authority.connect
    yield machine, orphan, office, authority
    authority.close()


def test_with_its_sheet_a_key_comes_back_as_the_platform_it_was(world):
    machine, orphan, office, authority = world
    sheet = judged_sheet(orphan.setting, machine.state.enrolment.sheet, office.world.owner)
    orphan.provision(office.token, adopt=True, sheet=sheet)
    assert orphan.state.platform_id == machine.state.platform_id
    approve_platform(orphan, office)
    enroll_authority(orphan.setting, None, OWNER_AUTH)
    archive(orphan.setting)
    assert orphan.state.sequence == machine.state.sequence + 1
    assert len(authority.packages(machine.state.platform_id)) == 2
    assert {d.kind for d in orphan.state.destinations} == {DestinationKind.MIGRATION_AUTHORITY}


def test_without_it_the_owners_msa_sees_a_take_over(world):
    _, orphan, office, _ = world
    orphan.provision(office.token, adopt=True)
    with pytest.raises(TakeOver):
        approve_platform(orphan, office)


def adopt_with(platform, office, document: bytes) -> str:
    options = {"fingerprint": office.token.fingerprint, "adopt": True, "unverified-tpm": True}
    secrets = {OWNER: office.token.owner.document, SHEET: document, "owner-auth": OWNER_AUTH.reveal()}
    call = Call(options, {word: Secret(value) for word, value in secrets.items()})
    return ACTS["provision"](call, platform.setting)["platform"]


def test_a_sheet_that_does_not_fit_adopts_nothing(world, provisioned):
    machine, orphan, office, _ = world
    document = machine.state.enrolment.sheet
    sheet = read_sheet(document)[0]
    stranger, ours = make_owner("stranger").signer, OwnerSigner(office.world.keys.ca, office.world.owner.ca_certificate)
    with pytest.raises(UntrustedSigner):
        adopt_with(orphan, office, sign(write_sheet(sheet), stranger))
    orphan.evict()
    with pytest.raises(KeyNotFound):
        adopt_with(orphan, office, document)
    other = drsk_of_the_same_owner(orphan, office)
    with pytest.raises(SheetMismatch):
        adopt_with(orphan, office, document)
    assert orphan.store.load() is None
    fits = sign(write_sheet(replace(sheet, drsk=other)), ours)
    assert adopt_with(orphan, office, fits) == str(sheet.platform_id)


def drsk_of_the_same_owner(platform, office) -> bytes:
    """Another key like it at the handle; its public."""
    policy = policy_of(office.token.owner, offline_token=False)
    born = platform.tpm.create_certified(
        SRK_HANDLE, drsk_template(Algorithm.ECC_P256, duplication_policy_digest(policy))
    )
    platform.tpm.persist(SRK_HANDLE, born.key, DRSK_HANDLE, OWNER_AUTH)
    return born.key.public


def test_numbers_go_on_where_a_package_is_at_hand(orphan, token, package):
    sequence = read_package(package).content.header.sequence
    platform_id = read_package(package).content.header.source.platform_id
    orphan.store.save_package(package)
    state, _ = orphan.provision(token, adopt=True, new_platform_id=platform_id)
    assert state.sequence == sequence
    orphan.enroll()
    assert orphan.archive().sequence == sequence + 1


def test_an_authorisation_that_is_missing_changes_nothing(orphan, token):
    with pytest.raises(Exception, match="owner authorisation"):
        orphan.provision(token, NO_SECRET, adopt=True)
    assert orphan.store.load() is None
    assert orphan.provision(token, adopt=True)[1]
