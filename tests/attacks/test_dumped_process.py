"""The whole memory of an authority that has taken a package and released it: nothing in it opens a key.

The control is what the authority has of its own: it is found in the same memory, in the same way.
"""

from __future__ import annotations

import signal
from contextlib import closing

import pytest

from lms.adapters.store import AuthorityDirectory
from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import open_vault
from lms.errors import ApprovalPending
from lms.model.trust import Mode
from lms.service.archive import archive
from lms.service.keeping.chip import ChipVaultKey
from lms.service.keeping.software import SoftwareVaultKey
from tests.support.migration import restore
from tests.support.operator import SoftwareKey, loot_of
from tests.support.platform import PRECIOUS, machines
from tests.support.serving import Running, at, chip, enrolled, enrolled_place, office, port

__all__ = ["chip", "enrolled_place", "machines", "office", "port"]


@pytest.fixture(params=Mode, ids=[mode.value for mode in Mode])
def dumped(request, enrolled_place, port, office, machines, tmp_path):
    """The authority, which has ended; whose platform it served; and its memory as it was after the release."""
    place, path = enrolled_place(request.param), tmp_path / "memory"
    with closing(Running(place, port, "tests.support.dumped", MEMORY_DUMP=str(path))) as running:
        machine = enrolled(at(machines(), running), office)
        archive(machine.setting)
        machine.seal()
        board = at(machines(disk_of=machine.directory), running)
        with pytest.raises(ApprovalPending):
            restore(board)
        restore(board, approval=office.approve(board.store.load_pending().document))
        running.program.process.send_signal(signal.SIGUSR1)
        running.program.until("STATUS=dumped")
    return place, machine.state.platform_id, path.read_bytes()


def drsk_of(loot, identity, inner_key, chip):
    """The DRSK's private half, which nobody but its owner and its authority together can open."""
    own = SoftwareKey()
    if identity.vault_key is not None:
        outer = SoftwareVaultKey(identity.vault_key).rewrap(loot.key.key_id, loot.blob.outer, own.public)
    else:
        with TpmDevice(chip.tcti) as tpm:
            outer = ChipVaultKey(tpm, identity).rewrap(loot.key.key_id, loot.blob.outer, own.public)
    return own.sensitive(loot, outer, inner_key)


def test_a_dump_of_the_process_opens_nothing(dumped, office, chip):
    place, platform_id, memory = dumped
    identity = AuthorityDirectory(place.state).load()
    with closing(open_vault(f"sqlite:///{place.store}")) as vault, vault.transaction() as transaction:
        loot = loot_of(transaction, platform_id)
    inner_key, keys = loot.inner_key(office.world), office.world.keys
    drsk = drsk_of(loot, identity, inner_key, chip)
    owners = [
        key.private_numbers().private_value.to_bytes(32, "big") for key in (keys.ca, keys.approval, keys.recovery)
    ]
    for secret in (inner_key, drsk.sensitive, drsk.seed, PRECIOUS.reveal(), *owners):
        assert len(secret) >= 16
        assert secret not in memory
        assert secret[::-1] not in memory  # as a number in a library
    kept = identity.vault_key if identity.chip is None else identity.chip.vault_auth
    for known in (kept, identity.tls_key):
        assert known.reveal() in memory
