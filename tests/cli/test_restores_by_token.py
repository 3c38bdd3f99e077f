"""A restore with the token, beside an authority that serves: every program as it is run, with `lmsd` and without."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from lms.model.trust import Mode
from lms.wire.trust_list import read_trust_list
from tests.support.documents import PASSWORD
from tests.support.platform import OWNER_AUTH, Platform, Said, lmsctl
from tests.support.station import Serving, Station

pytestmark = pytest.mark.slow


class Fleet(NamedTuple):
    """The owner's desk, and a machine that is switched off: its keys are at an authority that serves."""

    station: Station
    machine: Path
    files: dict[str, Path]

    def trusted(self):
        """The register."""
        return read_trust_list(self.station.trust_list.read_bytes(), self.station.world.owner)


@pytest.fixture(params=Mode, ids=[mode.value for mode in Mode])
def fleet(request, tmp_path):
    directory = tmp_path / "fleet"
    directory.mkdir()
    station = Station(directory / "desk")
    files = {name: directory / name for name in ("auth", "password", "request", "grant")}
    files["auth"].write_bytes(OWNER_AUTH.reveal())
    files["password"].write_bytes(PASSWORD.reveal())
    with ExitStack() as ending:
        ending.enter_context(Serving(directory / "ma", station, request.param))
        with Platform(directory / "machine") as machine:
            machine.provision(station.owner)
            machine.let_go()
            config = machine.write_config()
            shown = done(lmsctl("enroll", "msa", "--request-to", files["request"], config=config)).json["request"]
            done(station.approve(files["request"], "--digits", shown, "--output", files["grant"]))
            done(lmsctl("enroll", "msa", "--grant", files["grant"], config=config))
            for destination in ("ma", "token"):
                done(lmsctl("enroll", destination, "--owner-auth", files["auth"], config=config))
            done(lmsctl("archive", config=config))
        yield Fleet(station, directory / "machine", files)


def done(said: Said) -> Said:
    assert said.exit_code == 0, said
    return said


@pytest.fixture
def boards(fleet, machines, daemons, bus, request):
    """A new board with the disk, the machine that it was, and their configurations; one mode has `lmsd`."""
    board, old = machines(disk_of=fleet.machine), machines(disk_of=fleet.machine, tpm_of=fleet.machine)
    if request.node.callspec.params["fleet"] is Mode.TPM:
        daemons(board)
        return board, board.write_config(bus=f'"{bus.address}"'), old.write_config()
    return board, board.write_config(), old.write_config()


def restore(fleet, config, *more) -> Said:
    order = ("restore", "--unverified-tpm", "--owner-auth", fleet.files["auth"])
    return lmsctl(*order, *more, config=config)


def by_token(fleet) -> tuple[object, ...]:
    return ("--token", fleet.station.token, "--token-password", fleet.files["password"])


def test_a_stolen_tpm_archives_before_and_not_after_and_the_register_knows(fleet, boards):
    board, config, old = boards
    number = fleet.trusted().number
    for option in (("--stolen",), ("--trust-list", fleet.station.trust_list)):
        refused = restore(fleet, config, *option)
        assert (refused.exit_code, refused.json["error"]) == (2, "BadRequest")
        assert "approve" in refused.json["message"]
    done(lmsctl("archive", config=old))
    said = done(restore(fleet, config, *by_token(fleet), "--stolen", "--trust-list", fleet.station.trust_list))
    assert (said.json["state"], said.json["approved"]) == ("protected", True)
    assert said.json["trust-list"] == str(fleet.station.trust_list)
    known = fleet.trusted()
    assert known.number == number + 1
    (platform,) = known.platforms
    assert [pair.ek_name for pair in platform.pairs] == [board.state.ek_name]
    refused = lmsctl("archive", config=old)
    assert (refused.exit_code, refused.json["error"]) == (5, "Retired")
    done(lmsctl("archive", config=config))
