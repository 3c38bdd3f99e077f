"""The real daemon on a real bus with a real TPM: acts to their end, jobs that wait, what is announced."""

from __future__ import annotations

from lms.link.connection import Target
from lms.link.objects import OBJECT_MANAGER
from lms.names import BUS_NAME, ROOT_PATH
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
