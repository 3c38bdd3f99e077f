"""A Migration Authority that runs as a program, in either mode, with its owner and the machines at it."""

from __future__ import annotations

import signal
from contextlib import ExitStack, closing
from uuid import UUID

import pytest

from lms.adapters.authority import AuthorityClient
from lms.assembly import utc_now
from lms.model.trust import Mode
from lms.service.enroll import enroll_authority
from lms.wire.enrolment import read_authority_enrolment
from tests.support.authority import Place, Program, kept_port
from tests.support.migration import Office, approve_platform
from tests.support.platform import OWNER_AUTH
from tests.support.swtpm import SoftwareTpm


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
    """`lms-authority serve`, or another module with its words, and the way to it."""

    def __init__(self, place: Place, port: int, module: str = "lms.authority.main", **environment: str) -> None:
        self._place, self._address = place, f"https://127.0.0.1:{port}"
        self._module, self._environment = module, environment
        self._ending = ExitStack()
        self._start()

    def _start(self) -> None:
        self.program = Program(self._place.directory, self._place.config, self._module, **self._environment)
        self.program.port()

    def _end(self, by: signal.Signals) -> tuple[int, str]:
        code, _, log = self.program.ended(by)
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
