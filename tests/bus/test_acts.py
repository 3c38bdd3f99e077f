"""The real daemon on a real bus with a real TPM: acts to their end, jobs that wait, what is announced."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lms.errors import BadRequest, FingerprintDiffers, WrongPassword
from lms.link.connection import Target
from lms.link.objects import OBJECT_MANAGER
from lms.names import BUS_NAME, KEY, MANAGER, PACKAGE_OBJECT, RESTORED, ROOT_PATH
from tests.support.asynchronous import in_loop
from tests.support.daemon import client
from tests.support.platform import OWNER_AUTH

_OBJECTS = Target(BUS_NAME, ROOT_PATH, OBJECT_MANAGER)


def provisioning(token) -> tuple[dict, dict]:
    """Options and secrets of `provision`."""
    options = {"fingerprint": token.fingerprint, "offline-token": True, "unverified-tpm": True}
    return options, {"owner": token.owner.document, "owner-auth": OWNER_AUTH.reveal()}


@in_loop
async def test_a_platform_from_nothing_to_its_archive(bus, platform, daemons, token):
    daemons(platform)
    async with client(bus.address) as us:
        assert (await us.properties())["State"] == "unprovisioned"
        done = await us.act("Provision", *provisioning(token))
        assert (done.result, done.answer["state"], done.answer["changed"]) == ("done", "created", True)
        refused = await us.act("Archive")
        assert (refused.result, refused.error) == ("failed", "NothingEnrolled")
        enrolled = await us.act("Enroll", {"destination": "token"}, {"owner-auth": OWNER_AUTH.reveal()})
        assert enrolled.answer["destinations"] == [{"kind": "RecoveryToken", "id": token.owner.token_id}]
        assert (await us.act("Archive")).answer["sequence"] == 1
        (status,) = await us.verb("Status")
        assert (status["state"], status["reason"]) == ("at-risk", "intact")
    assert len(platform.packages) == 1


@in_loop
async def test_a_generated_owner_authorisation_is_collected_and_supplied(bus, platform, daemons, token):
    daemons(platform)
    options, secrets = provisioning(token)
    del secrets["owner-auth"]
    async with client(bus.address) as us:
        number, path = await us.verb("Provision", options, secrets)
        waiting = await us.until(path, "waiting")
        assert (waiting["Id"], waiting["Type"], waiting["Waiting"]) == (number, "provision", ["owner-auth"])
        generated = await us.collect(path, "owner-auth")
        with pytest.raises(BadRequest, match="collected already"):
            await us.collect(path, "owner-auth")
        with pytest.raises(BadRequest, match="not the one that was collected"):
            await us.supply(path, "owner-auth", b"another")
        with pytest.raises(BadRequest, match="does not wait"):
            await us.supply(path, "token", b"another")
        await us.supply(path, "owner-auth", generated)
        assert (await us.until(path, "finished"))["Result"] == "done"
        with pytest.raises(BadRequest, match="is finished"):
            await us.cancel(path)
        (status,) = await us.verb("Status")
        assert status["owner-auth-set"]


@in_loop
async def test_a_restore_is_announced_waits_and_brings_the_key_back(bus, archived, daemons, token):
    archived.evict()
    daemon = daemons(archived)
    async with client(bus.address) as us, us.connection.listening(BUS_NAME, interface=MANAGER) as signals:
        assert (await us.properties())["State"] == "restore-needed"
        assert (await us.properties())["Reason"] == "drsk-absent"
        given = {"owner-auth": OWNER_AUTH.reveal(), "token": token.document}
        _, path = await us.verb("Restore", {"unverified-tpm": True}, given)
        assert (await signals.get()).member == "JobNew"
        assert (await us.until(path, "waiting"))["Waiting"] == ["token-password"]
        await us.supply(path, "token-password", b"wrong")
        asked_again = await us.until(path, "waiting", Hint=WrongPassword.hint)
        assert asked_again["Waiting"] == ["token-password"]
        await us.supply(path, "token-password", token.password)
        end = await us.until(path, "finished")
        assert (end["Result"], end["Answer"]["changed"]) == ("done", True)
        removed = await signals.get()
        assert (removed.member, removed.body[1:]) == ("JobRemoved", (path, "done", "", ""))
        assert (await signals.get()).member == "Restored"
        assert (await us.properties())["State"] == "at-risk"
    for secret in (token.password, OWNER_AUTH.reveal()):
        assert secret.decode() not in daemon.log
        assert secret not in Path(f"/proc/{daemon.pid}/cmdline").read_bytes()
        assert secret not in Path(f"/proc/{daemon.pid}/environ").read_bytes()


@in_loop
async def test_a_key_that_goes_while_the_service_runs_is_announced(bus, archived, daemons, token):
    daemons(archived)
    async with client(bus.address) as us, us.connection.listening(BUS_NAME, member="RestoreNeeded") as signals:
        assert (await us.properties())["State"] == "at-risk"
        archived.evict()
        archived.let_go()
        await us.act("Archive")  # after each job the TPM is looked at
        await signals.get()
        assert (await us.properties())["State"] == "restore-needed"


@in_loop
async def test_a_canceled_job_has_ended(bus, platform, daemons, token):
    daemons(platform)
    async with client(bus.address) as us, us.connection.listening(BUS_NAME, member="JobRemoved") as signals:
        number, path = await us.verb("Restore", {}, {"token": token.document})
        await us.until(path, "waiting")
        await us.cancel(path)
        assert (await signals.get()).body == (number, path, "canceled", "", "")
        assert (await us.job(path))["Result"] == "canceled"


@in_loop
async def test_state_is_shown_as_objects(bus, archived, daemons, token):
    daemons(archived)
    state = archived.state
    async with client(bus.address) as us, us.connection.listening(BUS_NAME, interface=OBJECT_MANAGER) as signals:
        (found,) = await us.connection.call(_OBJECTS, "GetManagedObjects")
        package = f"{ROOT_PATH}/package/{str(state.package_id).replace('-', '_')}"
        key = f"{ROOT_PATH}/key/_{state.drsk.name}"
        assert found.keys() == {package, key}
        assert found[package] == {PACKAGE_OBJECT: {"Id": str(state.package_id), "Sequence": 1}}
        assert found[key][KEY] | {"Parent": ""} == {
            "Name": str(state.drsk.name), "Type": "CMK", "Parent": "", "Owner": "system", "Application": "",
            "Label": "DRSK", "Handle": state.drsk_handle,
        }  # fmt: skip
        await us.act("Archive")
        while (changed := await signals.get()).body[0] != package:
            pass
        assert changed.member == "InterfacesRemoved"


@in_loop
async def test_the_highest_sequence_of_all_does_not_end_the_service(bus, archived, daemons):
    archived.store.save(replace(archived.state, archived=10**18 - 1))
    daemons(archived)
    async with client(bus.address) as us:
        (found,) = await us.connection.call(_OBJECTS, "GetManagedObjects")
        shown = [one[PACKAGE_OBJECT]["Sequence"] for one in found.values() if PACKAGE_OBJECT in one]
        assert shown == [10**18 - 1]


@in_loop
async def test_questions_are_answered_at_once(bus, archived, daemons, token, package):
    daemons(archived)
    async with client(bus.address) as us:
        (said,) = await us.verb("Inspect", {}, {"package": package})
        assert (said["document"], said["sequence"], said["verified"]) == ("MigrationPackage", 1, False)
        options = {"fingerprint": token.fingerprint, "confirm-key": said["keys"][0]["key"]}
        (said,) = await us.verb("Verify", options, {"package": package, "owner": token.owner.document})
        assert said["verified"]
        with pytest.raises(FingerprintDiffers):
            await us.verb("Verify", {"fingerprint": "x"}, {"package": package, "owner": token.owner.document})
        with pytest.raises(BadRequest, match="give one"):
            await us.verb("Inspect", {}, {})
        assert await us.verb("Keys") == ({"entries": []},)


@in_loop
async def test_keys_that_cannot_be_seen_are_not_back(bus, machines, archived_machine, daemons, token):
    lost = machines(disk_of=archived_machine)
    daemons(lost)
    async with client(bus.address) as us, us.connection.listening(BUS_NAME, member="Restored") as signals:
        assert (await us.properties())["State"] == "restore-needed"
        lost.machine.stop()
        await us.act("Archive")  # after each job the TPM is looked at
        async with us.connection.listening(BUS_NAME, member="PropertiesChanged", path=ROOT_PATH) as changes:
            while (await us.properties())["State"] != "unknown":
                await changes.get()
        assert signals.empty()
        lost.machine.start()
        given = {"owner-auth": b"", "token": token.document, "token-password": token.password}
        done = await us.act("Restore", {"unverified-tpm": True}, given)
        assert (done.result, done.message) == ("done", "")
        await signals.get()
        assert (await us.properties())["Reason"] == "intact"
    assert (lost.state_directory / RESTORED).exists()
