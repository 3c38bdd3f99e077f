"""A machine that was really booted: the service, a reboot, a power cut."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.guest import Guest, GuestRefused
from tests.support.protected import SECRET, unsealed

pytestmark = pytest.mark.vm


def test_the_service_of_the_package_runs_and_answers(guests, record_property):
    guest = guests().start()
    record_property("boot", guest.measured())
    assert guest.run("dpkg -S /usr/bin/lmsd").stdout == "local-migration-service: /usr/bin/lmsd\n"
    assert guest.state("lms.service") == "active"
    assert guest.lmsctl("status")["state"] == "unprovisioned"
    assert guest.run("systemctl --failed --no-legend --plain").stdout == ""
    assert guest.run("systemctl --global is-enabled lms-agent.service").stdout == "enabled\n"
    assert guest.run("exit 7", check=False).code == 7
    with pytest.raises(GuestRefused, match="ended with 7"):
        guest.run("exit 7")


def main_pid(guest: Guest) -> int:
    return int(guest.run("systemctl show --value --property=MainPID lms.service").stdout)


def test_the_package_starts_restarts_and_stops_the_service(guests):
    guest = guests().start()
    guest.run("dpkg --purge local-migration-service && rm -rf /var/lib/lms")
    assert (main_pid(guest), guest.run("ls /usr/lib/systemd/system/lms*", check=False).stdout) == (0, "")
    guest.run("dpkg --install /srv/package.deb")
    first = main_pid(guest)
    assert guest.state("lms.service") == guest.state("lms-archive.timer") == "active"
    assert guest.lmsctl("status")["state"] == "unprovisioned"
    guest.run("dpkg --install /srv/package.deb")
    assert main_pid(guest) not in (0, first)
    assert guest.lmsctl("status")["state"] == "unprovisioned"
    guest.run("dpkg --remove local-migration-service")
    assert (main_pid(guest), guest.state("lms-archive.timer")) == (0, "inactive")
    guest.run("test -d /var/lib/lms")


def lasting(guest: Guest) -> dict[str, Any]:
    """What `status` says and no passing of time changes."""
    status = guest.lmsctl("status")
    return {name: value for name, value in status.items() if name != "age-days"}


@pytest.mark.slow
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
