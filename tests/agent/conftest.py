"""A desktop beside a machine with `lmsd` and polkit."""

from __future__ import annotations

import shutil
import signal
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from lms.adapters.authority import AuthorityClient
from lms.assembly import utc_now
from lms.service.enroll import enroll_authority
from tests.support.authority import Program, kept_port
from tests.support.daemon import Daemon
from tests.support.desktop import Desktop
from tests.support.migration import Office, approve_platform
from tests.support.platform import OWNER_AUTH, Platform
from tests.support.world import House


@pytest.fixture
def desktop(bus):
    """A screen, a session bus and a notification server."""
    with Desktop(bus.address) as desktop:
        desktop.start_dunst()
        yield desktop


@contextmanager
def serving(house: House, port: int):
    """`lms-authority serve` in this house."""
    authority = Program(house.directory, house.configure(port, None))
    authority.port()
    try:
        yield
    finally:
        authority.ended(signal.SIGTERM)
        (house.directory / "notify").unlink()


@pytest.fixture(scope="session")
def lost_machine(tmp_path_factory):
    """A machine on a new board, whose keys an authority has, with authority and owner; all switched off: copy it."""
    directory = tmp_path_factory.mktemp("lost")
    with kept_port() as port:
        office, house = Office(now=utc_now()), House(directory / "house", chip=False)
        house.directory.mkdir()
        house.begin(office, f"https://127.0.0.1:{port}")
        machine = Platform(directory / "machine")
        with serving(house, port), machine, ExitStack() as closing:
            machine.now = utc_now()

            def connect(*where):
                client = AuthorityClient(*where)
                closing.callback(client.close)
                return client

            machine.connect = connect
            machine.provision(office.token, offline_token=False)
            approve_platform(machine, office)
            enroll_authority(machine.setting, None, OWNER_AUTH)
            machine.archive()
        board = Platform(directory / "board", disk_of=directory / "machine")
        ca = board.machine.manufacture(directory / "ca")
        with board:
            board.set_owner_auth()
        yield SimpleNamespace(directory=directory, ca=ca, office=office, port=port)


@pytest.fixture
def lose(lost_machine, machines, bus, tmp_path):
    """That machine with `lmsd`, which asks nobody by itself unless it is `unasked`: `lose(**environment)`."""
    house = House(tmp_path / "house", chip=False)
    shutil.copytree(lost_machine.directory / "house", house.directory)
    office = replace(lost_machine.office, sheets=dict(lost_machine.office.sheets))
    running = []

    def make(*, unasked: bool = False, **environment: str) -> SimpleNamespace:
        board = lost_machine.directory / "board"
        machine = machines(disk_of=board, tpm_of=board)
        machine.let_go()
        roots = f'["{lost_machine.ca.root}", "{lost_machine.ca.issuer}"]'
        how = {"ek_roots": roots, "restore_unasked": "true" if unasked else "false"}
        daemon = Daemon(machine.write_config(bus=f'"{bus.address}"', **how))
        running.append(daemon)
        daemon.start(**environment).until("READY=1")
        return SimpleNamespace(platform=machine, daemon=daemon, office=office)

    with serving(house, lost_machine.port):
        yield make
        for daemon in running:
            daemon.remove()


@pytest.fixture
def credentials(tmp_path):
    """What the administrator gave to `lmsd`: the owner authorisation."""
    (tmp_path / "lms.owner-auth").write_bytes(OWNER_AUTH.reveal())
    return str(tmp_path)


@pytest.fixture
def lost(lose, credentials):
    """The same, with that."""
    return lose(CREDENTIALS_DIRECTORY=credentials)
