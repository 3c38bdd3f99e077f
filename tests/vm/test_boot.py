"""A machine that was really booted: the service, a reboot, a power cut, the way to an authority."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.guest import AUTHORITY_ADDRESS, Guest, GuestRefused
from tests.support.protected import OWNER_AUTH, SECRET, unsealed
from tests.support.station import Serving, Station

pytestmark = pytest.mark.vm


def test_the_service_runs_and_answers(guests, record_property):
    guest = guests().start()
    record_property("boot", guest.measured())
    assert guest.state("lms.service") == "active"
    assert guest.lmsctl("status")["state"] == "unprovisioned"
    assert guest.run("systemctl --failed --no-legend --plain").stdout == ""
    assert guest.run("exit 7", check=False).code == 7
    with pytest.raises(GuestRefused, match="ended with 7"):
        guest.run("exit 7")


def lasting(guest: Guest) -> dict[str, Any]:
    """What `status` says and no passing of time changes."""
    status = guest.lmsctl("status")
    return {name: value for name, value in status.items() if name != "age-days"}


def test_the_state_outlives_a_reboot_and_a_power_cut(guests, protected):
    guest = guests(protected).start()
    before = lasting(guest)
    assert (before["state"], before["reason"]) == ("at-risk", "intact")
    guest.reboot()
    assert lasting(guest) == before
    guest.kill()
    guest.start()
    assert lasting(guest) == before
    assert unsealed(guest) == SECRET


def test_keys_are_kept_at_an_authority(guests, tmp_path):
    owner = Station(tmp_path / "owner")
    with Serving(tmp_path / "authority", owner, address=AUTHORITY_ADDRESS) as authority:
        guest = guests(reaches=authority.port).start()
        guest.put(owner.owner.owner.document, "/root/owner.xml")
        guest.put(OWNER_AUTH, "/root/owner-auth")
        whose = ("--owner", "/root/owner.xml", "--fingerprint", owner.owner.fingerprint)
        guest.lmsctl("provision", *whose, "--unverified-tpm", "--owner-auth", "/root/owner-auth")
        request, grant = tmp_path / "request", tmp_path / "grant"
        asked = guest.lmsctl("enroll", "msa", "--request-to", "/root/request.xml")
        request.write_bytes(guest.get("/root/request.xml"))
        assert owner.approve(request, "--digits", asked["request"], "--output", grant).exit_code == 0
        guest.put(grant.read_bytes(), "/root/grant.xml")
        guest.lmsctl("enroll", "msa", "--grant", "/root/grant.xml")
        guest.lmsctl("enroll", "ma", "--owner-auth", "/root/owner-auth")
        guest.lmsctl("archive")
        (listed,) = guest.lmsctl("authorities")["authorities"]
        assert (listed["id"], listed["held"]) == (authority.ma_id, 1)
