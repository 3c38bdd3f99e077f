"""The whole circle through programs: `lms-authority init`, `enroll` and `serve`, a platform, its new board.

In software, and with the vault in a TPM of the authority's own.
"""

from __future__ import annotations

import signal
from uuid import UUID

import pytest

from lms.adapters.authority import AuthorityClient
from lms.assembly import utc_now
from lms.errors import ApprovalPending
from lms.model.keys import VAULT_HANDLE
from lms.model.trust import Mode
from lms.service.archive import archive
from lms.service.enroll import enroll_authority
from lms.wire.enrolment import read_authority_enrolment
from lms.wire.trust_list import read_trust_list
from tests.support.authority import Place, Program
from tests.support.migration import Office, approve_platform, restore
from tests.support.platform import OWNER_AUTH, PRECIOUS, machines
from tests.support.swtpm import SoftwareTpm

__all__ = ["machines"]


@pytest.fixture
def chip(tmp_path):
    """The authority's TPM."""
    machine = SoftwareTpm(tmp_path / "tpm").start()
    yield machine
    machine.remove()


@pytest.fixture
def office():
    """The owner, who lives now as the programs do."""
    return Office(now=utc_now())


@pytest.fixture
def enrolled_place(tmp_path, chip, office):
    """Makes an authority by files, in a mode."""

    def make(mode) -> Place:
        place = Place(tmp_path / "ma")
        place.configure(chip.tcti if mode is Mode.TPM else None, listen='"127.0.0.1:0"')
        assert place.init("--unverified-tpm").json["mode"] == mode.value
        request = place.request.read_bytes()
        grant = tmp_path / "grant"
        grant.write_bytes(office.grant(request, read_authority_enrolment(request).request_id))
        assert place.enroll(grant, office.token).exit_code == 0
        return place

    return make


@pytest.fixture
def serve(tmp_path):
    """Starts `lms-authority serve`; gives the way to it, as `Setting.connect` is."""
    running = []

    def start(place):
        running.append(Program(tmp_path, place.config))
        address, clients = f"https://127.0.0.1:{running[-1].port()}", []

        def connect(_, ma_id: UUID, owner, trust_list):
            clients.append(AuthorityClient(address, ma_id, owner, trust_list))
            return clients[-1]

        running[-1].clients = clients
        return connect

    yield start
    for program in running:
        for client in program.clients:
            client.close()
        code, _, log = program.ended(signal.SIGTERM)
        assert code == 0, log


def at(platform, connect):
    """The machine, now, with this way to its authority."""
    platform.now, platform.connect = utc_now(), connect
    return platform


@pytest.mark.parametrize("mode", Mode, ids=[mode.value for mode in Mode])
def test_keys_come_back_through_an_authority_that_runs(mode, enrolled_place, serve, office, machines, tmp_path):
    connect = serve(enrolled_place(mode))
    (entry,) = read_trust_list(office.trust_list, office.world.owner).authorities
    assert entry.mode is mode
    machine = at(machines(), connect)
    machine.provision(office.token, offline_token=False)
    approve_platform(machine, office)
    enroll_authority(machine.setting, None, OWNER_AUTH)
    archive(machine.setting)
    child = machine.seal()
    board = at(machines(disk_of=machine.directory), connect)
    with pytest.raises(ApprovalPending):
        restore(board)
    assert restore(board, approval=office.approve(board.store.load_pending().document)).changed
    assert board.unseal(child) == PRECIOUS


def test_an_authority_whose_vault_is_gone_does_not_serve(enrolled_place, chip, tmp_path):
    place = enrolled_place(Mode.TPM)
    other = SoftwareTpm(tmp_path / "other").start()
    try:
        place.configure(other.tcti, listen='"127.0.0.1:0"')
        code, _, log = Program(tmp_path, place.config).ended()
    finally:
        other.remove()
    assert (code, f"{VAULT_HANDLE:#x}" in log) == (7, True)
    (tmp_path / "notify").unlink()
    place.configure(chip.tcti, listen='"127.0.0.1:0"')
    program = Program(tmp_path, place.config)
    assert program.port()
    assert program.ended(signal.SIGTERM)[0] == 0
