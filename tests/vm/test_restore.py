"""A machine gets another board: its keys come back, and what hangs below them opens unchanged."""

from __future__ import annotations

import pytest

from tests.support.guest import GuestRefused
from tests.support.protected import SECRET, restore, unsealed

pytestmark = [pytest.mark.vm, pytest.mark.slow]


def test_keys_come_back_on_another_tpm(guests, protected):
    guest = guests(protected)
    guest.replace_tpm()
    guest.start()
    lost = guest.lmsctl("status")
    assert (lost["state"], lost["reason"]) == ("restore-needed", "other-tpm")
    with pytest.raises(GuestRefused, match="0x81000004"):
        unsealed(guest)
    assert restore(guest)["was"] == "other-tpm"
    assert unsealed(guest) == SECRET
    guest.reboot()
    found = guest.lmsctl("status")
    assert (found["reason"], found["key"]) == ("intact", lost["key"])
    assert unsealed(guest) == SECRET
