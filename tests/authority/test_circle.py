"""The whole circle through programs: `lms-authority init`, `enroll` and `serve`, a platform, its new board.

In software, and with the vault in a TPM of the authority's own.
"""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from dataclasses import replace
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
from tests.support.authority import Place, Program, kept_port
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
def port():
    """Where an authority listens, however often it is started."""
    with kept_port() as number:
        yield number


@pytest.fixture
def enrolled_place(tmp_path, chip, office, port):
    """Makes an authority by files, in a mode."""

    def make(mode) -> Place:
        place = Place(tmp_path / "ma")
        place.configure(chip.tcti if mode is Mode.TPM else None, listen=f'"127.0.0.1:{port}"')
        assert place.init("--unverified-tpm").json["mode"] == mode.value
        request = place.request.read_bytes()
        grant = tmp_path / "grant"
        grant.write_bytes(office.grant(request, read_authority_enrolment(request).request_id))
        assert place.enroll(grant, office.token).exit_code == 0
        return place

    return make


class Running:
    """`lms-authority serve`, and the way to it."""

    def __init__(self, place: Place, port: int) -> None:
        self._place, self._address = place, f"https://127.0.0.1:{port}"
        self._ending = ExitStack()
        self._start()

    def _start(self) -> None:
        self._program = Program(self._place.directory, self._place.config)
        self._program.port()

    def _end(self, by: signal.Signals) -> tuple[int, str]:
        code, _, log = self._program.ended(by)
        (self._place.directory / "notify").unlink()
        return code, log

    def connect(self, _, ma_id: UUID, owner, trust_list) -> AuthorityClient:
        """What `Setting.connect` is."""
        client = AuthorityClient(self._address, ma_id, owner, trust_list)
        self._ending.callback(client.close)
        return client

    def restart(self) -> None:
        """It is killed, and started again."""
        self._end(signal.SIGKILL)
        self._start()

    def close(self) -> None:
        """End it in good order."""
        self._ending.close()
        code, log = self._end(signal.SIGTERM)
        assert code == 0, log


@pytest.fixture
def serve(port):
    """Starts an authority."""
    with ExitStack() as ending:
        yield lambda place: ending.enter_context(closing(Running(place, port)))


def at(platform, running):
    """The machine, now, with the way to its authority."""
    platform.now, platform.connect = utc_now(), running.connect
    return platform


def enrolled(platform, office):
    """A new machine whose keys the authority is to keep."""
    platform.provision(office.token, offline_token=False)
    approve_platform(platform, office)
    enroll_authority(platform.setting, None, OWNER_AUTH)
    return platform


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
