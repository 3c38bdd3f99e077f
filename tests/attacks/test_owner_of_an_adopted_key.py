"""How the preset `owner` is weaker (PROTOCOL §2): what an owner authorisation alone does to it, and not to our keys."""

from __future__ import annotations

import subprocess

import pytest

from lms.model.keys import DRSK_HANDLE, Algorithm
from lms.wire.tpm.sensitive import matches, read_sensitive
from tests.support.platform import PRECIOUS
from tests.support.tpm_keys import TpmKeys


@pytest.fixture
def adopted(machines, tmp_path, token):
    """A machine of tpm_keys, taken over and archived, and who has its owner authorisation."""
    machine = machines()
    thief = TpmKeys(machine.machine.tcti, tmp_path / "tpm_keys")
    thief.provision()
    thief.seal(PRECIOUS.reveal())
    machine.provision(
        token, adopt=True, weaker=True, offline_token=False, algorithm=Algorithm.RSA_2048, srk_handle=0x81000006
    )
    machine.enroll()
    machine.archive()
    return machine, thief


def test_the_owner_authorisation_takes_an_adopted_key_out_in_the_clear(adopted):
    machine, thief = adopted
    public = machine.tpm.read_public(DRSK_HANDLE)
    assert matches(read_sensitive(thief.taken_out()), public)


def test_it_takes_none_of_our_keys_out(archived, tmp_path):
    thief = TpmKeys(archived.machine.tcti, tmp_path / "tpm_keys")
    with pytest.raises(subprocess.CalledProcessError) as refused:
        thief.taken_out()
    assert b"a policy check failed" in refused.value.stderr


def test_a_restored_adopted_key_is_no_better(adopted, machines, token, tmp_path):
    machine, _ = adopted
    board = machines(disk_of=machine.directory)
    board.restore(token, machine.packages[0].read_bytes())
    thief = TpmKeys(board.machine.tcti, tmp_path / "of the new board")
    assert matches(read_sensitive(thief.taken_out()), board.tpm.read_public(DRSK_HANDLE))


def test_a_lockout_closes_it_and_none_of_our_keys(adopted, archived, child, tmp_path):
    machine, thief = adopted
    assert thief.unseal(machine.machine.tcti) == PRECIOUS.reveal()
    ours = TpmKeys(archived.machine.tcti, tmp_path / "ours")
    for held in (thief, ours):
        held.lock_out()
    with pytest.raises(subprocess.CalledProcessError) as refused:
        thief.unseal(machine.machine.tcti)
    assert b"lockout" in refused.value.stderr
    assert archived.unseal(child) == PRECIOUS
