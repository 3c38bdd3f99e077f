"""`provision`, `enroll`, `archive` and `forget` as acts, and what `packages` and `authorities` say of it."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest

from lms.errors import ApprovalPending, AuthorityUnknown, BadRequest, NotProvisioned
from lms.model.jobs import Awaiting
from lms.model.keys import SRK_HANDLE
from lms.model.packages import DestinationKind
from lms.model.trust import Identity, Mode, Role
from lms.names import RECOVERY_PACKAGE, RECOVERY_SHEET
from lms.service.acts.restore import POLL_S
from lms.service.enroll import trusted_authority
from lms.terminal import show
from lms.wire.exchange_v1 import TRUST_LIST
from lms.wire.signature import sign
from lms.wire.trust_list import read_trust_list
from tests.support.acts import act, call_of, run
from tests.support.documents import NOW, uuid
from tests.support.migration import ADDRESS, Authority, Office, approve_platform, enrolled
from tests.support.platform import OWNER_AUTH, Platform
from tests.support.restoring import register

_AUTH = OWNER_AUTH.reveal()


@pytest.fixture
def office():
    """The owner."""
    return Office()


@pytest.fixture
def authority(tmp_path, office):
    """The owner's authority."""
    made = Authority(tmp_path, office)
    yield made
    made.close()


def ours(platform: Platform, office: Office, authority: Authority) -> Platform:
    """A provisioned machine of the owner's."""
    platform.now, platform.connect = NOW, authority.connect
    options = {"fingerprint": office.token.fingerprint, "offline-token": True, "unverified-tpm": True}
    act(platform, "provision", options, owner=office.world.owner.document, owner_auth=_AUTH)
    return platform


def test_packages_are_told_with_their_places(provisioned, archived, tmp_path):
    assert act(provisioned, "packages") == {"packages": []}
    (place,) = map(str, archived.packages)
    assert act(archived, "packages")["places"] == [place]
    boot = tmp_path / "boot"
    made = act(archived, "archive", boot=boot)
    assert made["places"] == [str(archived.packages[-1]), str(boot / RECOVERY_PACKAGE)]
    answer = act(archived, "packages", boot=boot)
    assert answer["places"] == made["places"]
    assert [(one["package"], one["sequence"]) for one in answer["packages"]] == [(str(archived.state.package_id), 2)]


def test_an_archive_that_would_tell_nothing_new_is_not_made(archived):
    packages = archived.packages
    assert not act(archived, "archive", {"if-changed": True})["changed"]
    assert archived.packages == packages
    packages[0].unlink()
    answer = act(archived, "archive", {"if-changed": True})
    assert (answer["changed"], answer["only-copy"]) == (True, False)


def test_authorities_are_those_of_the_owners_list(platform, office, authority):
    ours(platform, office, authority)
    assert act(platform, "authorities") == {"authorities": []}
    with pytest.raises(AuthorityUnknown, match="no trust list"):
        act(platform, "enroll", {"destination": "ma"}, owner_auth=_AUTH)
    approve_platform(platform, office)
    (listed,) = act(platform, "authorities")["authorities"]
    assert (listed["id"], listed["enrolled"], listed["withdrawn"]) == (str(authority.identity.ma_id), False, None)
    with pytest.raises(AuthorityUnknown, match="names no such one"):
        act(platform, "enroll", {"destination": "ma", "id": str(uuid("another"))}, owner_auth=_AUTH)
    assert act(platform, "enroll", {"destination": "ma"}, owner_auth=_AUTH)["changed"]
    made = act(platform, "archive")
    assert made["places"] == [f"authority {authority.identity.destination}", str(platform.packages[-1])]
    (listed,) = act(platform, "authorities")["authorities"]
    assert (listed["enrolled"], listed["held"]) == (True, 1)
    withdrawn = office.withdraw(Identity(Role.MIGRATION_AUTHORITY, authority.identity.ma_id))
    act(platform, "enroll", {"destination": "msa"}, grant=withdrawn)
    (listed,) = act(platform, "authorities")["authorities"]
    assert listed["withdrawn"] == NOW.isoformat()
    assert act(platform, "status")["withdrawn"] == [authority.identity.destination]


@pytest.mark.parametrize(("mode", "combined", "shown"), [(Mode.SOFTWARE, True, "yes"), (Mode.TPM, False, "no")])
def test_status_says_what_the_owner_granted_an_authority_as(platform, office, authority, mode, combined, shown):
    enrolled(platform, office, authority, token=True)
    known = read_trust_list(office.trust_list, office.world.owner)
    granted = tuple(replace(one, mode=mode, combined=combined) for one in known.authorities)
    later = sign(TRUST_LIST.write(replace(known, number=known.number + 1, authorities=granted)), office.world.signer)
    act(platform, "enroll", {"destination": "msa"}, grant=later)
    status = act(platform, "status")
    where = {"kind": DestinationKind.MIGRATION_AUTHORITY.value, "id": authority.identity.destination, "held": 1}
    assert status["destinations"] == [
        {"kind": DestinationKind.RECOVERY_TOKEN.value, "id": office.token.owner.token_id},
        {**where, "mode": mode.value, "combined": combined},
    ]
    said = io.StringIO()
    show(status, as_json=False, out=said)
    lines = [line.split() for line in said.getvalue().splitlines()]
    assert ["kind", "id", "held", "mode", "combined"] in lines
    assert [*map(str, where.values()), mode.value, shown] in lines


def test_of_two_authorities_one_has_to_be_named():
    known = register()
    (one,) = known.authorities
    other = replace(one, ma_id=uuid("another"))
    both = replace(known, authorities=(one, other))
    with pytest.raises(AuthorityUnknown, match=f"{one.ma_id}, {other.ma_id}"):
        trusted_authority(both, None)
    assert trusted_authority(both, other.ma_id) == other


def test_a_destination_is_forgotten_by_its_id_and_the_token_by_its_word(platform, office, authority):
    ours(platform, office, authority)
    approve_platform(platform, office)
    for destination in ("ma", "token"):
        act(platform, "enroll", {"destination": destination}, owner_auth=_AUTH)
    kinds = [d["kind"] for d in act(platform, "forget", {"destination": "token"})["destinations"]]
    assert kinds == [DestinationKind.MIGRATION_AUTHORITY.value]
    named = {"destination": authority.identity.destination.upper(), "last": True}
    assert act(platform, "forget", named)["destinations"] == []
    assert not act(platform, "forget", named)["changed"]


def test_who_waits_for_a_grant_has_the_request_to_carry(platform, office, authority):
    ours(platform, office, authority)
    with pytest.raises(BadRequest, match="--id"):
        act(platform, "enroll", {"destination": "msa", "via": ADDRESS})
    options = {"destination": "msa", "via": ADDRESS, "id": str(authority.identity.ma_id)}
    with pytest.raises(ApprovalPending):
        act(platform, "enroll", options)
    call = call_of(options, waits=True)
    with pytest.raises(Awaiting) as waits:
        run(platform, "enroll", call)
    assert (waits.value.words, waits.value.poll_s) == (("grant",), POLL_S)
    (listed,) = authority.station.query(b"").requests
    granted = office.grant(call.offered["grant"].reveal(), listed.request_id)
    assert act(platform, "enroll", {"destination": "msa"}, grant=granted)["approved"]
    assert not act(platform, "enroll", {"destination": "msa"}, grant=granted)["changed"]


def test_where_the_storage_root_key_is_gone_nothing_is_asked_for(platform, office, authority):
    """Another administrator took it: what this TPM would be known by is not there."""
    enrolled(platform, office, authority)
    key = platform.tpm.read_public(SRK_HANDLE)
    platform.evict(SRK_HANDLE)
    with pytest.raises(NotProvisioned):
        act(platform, "enroll", {"destination": "msa"})
    platform.provision(office.token, offline_token=False)
    assert platform.tpm.read_public(SRK_HANDLE) == key
    assert act(platform, "enroll", {"destination": "msa"})["document"]


# A key that outlived its state.


@pytest.fixture
def orphan(machines, tmp_path, office, authority):
    """A TPM whose disk is empty but for /boot; what /boot has, and the platform that it was."""
    machine, boot = enrolled(machines(), office, authority), tmp_path / "boot"
    act(machine, "archive", boot=boot)
    bare = machines(tpm_of=machine.directory)
    bare.now, bare.connect = NOW, authority.connect
    return bare, boot, machine.state


def adopt(platform, office, boot, **more) -> dict:
    options = {"fingerprint": office.token.fingerprint, "adopt": True, "unverified-tpm": True, **more}
    return act(platform, "provision", options, boot, owner=office.world.owner.document, owner_auth=_AUTH)


def test_the_sheet_in_boot_says_which_platform_a_key_is(orphan, office):
    bare, boot, state = orphan
    answer = adopt(bare, office, boot)
    assert (answer["platform"], answer["changed"]) == (str(state.platform_id), True)
    assert bare.state.sequence >= state.sequence
    assert not adopt(bare, office, boot)["changed"]


@pytest.mark.parametrize("lying", ["nothing", "rubbish"])
def test_without_a_sheet_to_believe_it_is_a_new_platform(orphan, office, lying):
    bare, boot, state = orphan
    sheet = boot / RECOVERY_SHEET
    if lying == "nothing":
        sheet.unlink()
    else:
        sheet.write_bytes(b"<RecoverySheet/>")
    assert adopt(bare, office, boot)["platform"] != str(state.platform_id)
