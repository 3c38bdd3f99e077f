"""`handles`: what a TPM keeps is told, with what of it is ours."""

from __future__ import annotations

import subprocess

import pytest

from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Name
from lms.service.acts import ACTS, Call
from tests.support.platform import OWNER_AUTH

_FOREIGN = 0x81000100
_INDEX = "0x01500020"


@pytest.fixture
def handles():
    """What the act answers, by handles."""

    def ask(platform) -> dict[int, dict]:
        listed = ACTS["handles"](Call({}, {}), platform.setting)["handles"]
        return {int(one["handle"], 16): one for one in listed}

    return ask


def tpm2(platform, *words: str) -> None:
    """Another program at the TPM."""
    platform.let_go()
    subprocess.run([f"tpm2_{words[0]}", *words[1:], "-T", platform.machine.tcti], check=True, capture_output=True)


def test_what_the_tpm_keeps_is_told_with_what_is_ours(provisioned, handles):
    name = provisioned.place_foreign_key(_FOREIGN)
    tpm2(provisioned, "nvdefine", _INDEX, "-C", "o", "-s", "8", "-P", OWNER_AUTH.reveal().decode())
    found = handles(provisioned)
    assert set(found) >= {SRK_HANDLE, DRSK_HANDLE, _FOREIGN, int(_INDEX, 16)}
    ours = {handle: one["ours"] for handle, one in found.items() if one.get("ours")}
    assert ours == {SRK_HANDLE: "storage-root-key", DRSK_HANDLE: "recoverable-key"}
    assert found[_FOREIGN]["name"] == str(Name(name))
    assert found[DRSK_HANDLE]["name"] == str(provisioned.state.require_drsk().name)
    assert int(found[DRSK_HANDLE]["attributes"], 16) & 0x2 == 0
    assert (found[int(_INDEX, 16)]["kind"], int(found[int(_INDEX, 16)]["attributes"], 16) >> 30) == ("nv", 0)


def test_a_new_machine_has_nothing_of_ours(platform, handles):
    assert not [one for one in handles(platform).values() if one.get("ours")]


def test_a_key_whose_name_has_another_hash_is_told_without_it(platform, handles):
    directory = platform.directory
    tpm2(platform, "createprimary", "-C", "o", "-g", "sha1", "-G", "ecc", "-c", str(directory / "primary"))
    tpm2(platform, "evictcontrol", "-C", "o", "-c", str(directory / "primary"), f"{_FOREIGN:#x}")
    assert handles(platform)[_FOREIGN] == {"handle": f"{_FOREIGN:#010x}", "kind": "key"}
