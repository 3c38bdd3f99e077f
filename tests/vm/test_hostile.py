"""A hostile user of a booted machine: what he calls is refused, and the service goes on as if he had not been."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.protected import SECRET, unsealed

pytestmark = pytest.mark.vm

_NEIGHBOUR = Path(__file__).parents[1] / "support/neighbour.py"
_OPEN_TO_ALL = {"Status", "Keys", "Pcrs", "Inspect", "Verify"}


def service(guest) -> str:
    """Which process the service is, and whether it ever was another one."""
    return guest.run("systemctl show --property=ActiveState,MainPID,NRestarts lms.service").stdout


def files(guest) -> str:
    """What the service keeps, byte by byte."""
    return guest.run("find /var/lib/lms /boot/lms -type f -exec sha256sum {} + | sort").stdout


def test_nobody_gets_nothing_done_and_crashes_nothing(guests, protected):
    guest = guests(protected).start()
    guest.run("systemctl start lms.service")  # a boot does not wait for it
    before = [service(guest), files(guest), guest.lmsctl("status"), guest.lmsctl("keys")]
    said = json.loads(
        guest.run("runuser -u nobody -- /usr/lib/lms/bin/python -I -", given=_NEIGHBOUR.read_text()).stdout
    )
    refused = {
        member
        for member, error in said.items()
        if error.endswith((".NotAuthorized", ".UnknownObject", ".PropertyReadOnly"))
    }
    assert said.keys() - refused == _OPEN_TO_ALL
    assert said["Status"] == "answered"
    assert [service(guest), files(guest), guest.lmsctl("status"), guest.lmsctl("keys")] == before
    assert "Traceback" not in guest.journal()
    assert unsealed(guest) == SECRET
