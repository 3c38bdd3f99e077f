"""The whole circle through programs: `lms-authority init`, `enroll` and `serve`, a platform, its new board.

In software, and with the vault in a TPM of the authority's own.
"""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from lms.errors import ApprovalPending
from lms.model.keys import VAULT_HANDLE
from lms.model.trust import Mode
from lms.service.archive import archive
from lms.wire.trust_list import read_trust_list
from tests.support.authority import Program
from tests.support.migration import restore
from tests.support.platform import PRECIOUS, machines
from tests.support.serving import at, chip, enrolled, enrolled_place, office, port, serve
from tests.support.swtpm import SoftwareTpm

__all__ = ["chip", "enrolled_place", "machines", "office", "port", "serve"]

modes = pytest.mark.parametrize("mode", Mode, ids=[mode.value for mode in Mode])


@modes
def test_keys_come_back_through_an_authority_that_runs(mode, enrolled_place, serve, office, machines):
    running = serve(enrolled_place(mode))
    (entry,) = read_trust_list(office.trust_list, office.world.owner).authorities
    assert entry.mode is mode
    machine = enrolled(at(machines(), running), office)
    archive(machine.setting)
    child = machine.seal()
    board = at(machines(disk_of=machine.directory), running)
    with pytest.raises(ApprovalPending):
        restore(board)
    assert restore(board, approval=office.approve(board.store.load_pending().document)).changed
    assert board.unseal(child) == PRECIOUS


@modes
def test_an_authority_that_was_restarted_meanwhile_is_told_again_who_asks(
    mode, enrolled_place, serve, office, machines
):
    """Killed after it opened the session of an archive, before the package comes."""
    running = serve(enrolled_place(mode))
    machine = enrolled(at(machines(), running), office)
    restarted = []

    def step(text: str) -> None:
        if text == "keeping the package" and not restarted:
            restarted.append(running.restart())

    state = archive(replace(machine.setting, step=step))
    assert restarted
    (destination,) = state.destinations
    assert destination.held == state.archived == 1
    assert archive(machine.setting).archived == 2


def test_an_authority_whose_vault_is_gone_does_not_serve(enrolled_place, chip, port, tmp_path):
    place = enrolled_place(Mode.TPM)
    other = SoftwareTpm(tmp_path / "other").start()
    try:
        place.configure(other.tcti, listen=f'"127.0.0.1:{port}"')
        code, _, log = Program(tmp_path, place.config).ended()
    finally:
        other.remove()
    assert (code, f"{VAULT_HANDLE:#x}" in log) == (7, True)
    (tmp_path / "notify").unlink()
    place.configure(chip.tcti, listen=f'"127.0.0.1:{port}"')
    program = Program(tmp_path, place.config)
    assert program.port()
    assert program.ended(signal.SIGTERM)[0] == 0
