"""A Migration Authority that relays another's challenge: the proof that it gets fits nowhere (PROTOCOL §7).

The relay has a certificate of its own and an honest-looking line; the machine that it lures has a real TPM. The
positive control is the same machine on a straight line.
"""

from __future__ import annotations

import pytest

from lms.errors import NotAuthenticated
from lms.model.keys import SRK_HANDLE
from lms.service.line import Chip, Whereabouts, open_line
from lms.service.setting import NO_SECRET
from tests.support.documents import NOW
from tests.support.migration import ADDRESS, BOTH_MODES, PLATFORM, Authority, Line, Office, enrolled


class Relay(Line):
    """A line that shows one authority's certificate and passes everything on to another."""

    def __init__(self, shown: Authority, asked: Authority) -> None:
        super().__init__(asked, PLATFORM)
        self.leaf = shown.leaf
        self.said: list[tuple[bytes, bytes]] = []

    def session(self, server_nonce: bytes, proof: bytes):
        self.said.append((server_nonce, proof))
        return self._served.session(server_nonce, proof)


@pytest.fixture(**BOTH_MODES)
def scene(tmp_path, machines, request):
    """Two authorities of one owner, and a machine that is enrolled at the honest one."""
    office = Office()
    honest = request.param(tmp_path, office, "honest")
    machine = enrolled(machines(), office, honest)
    relaying = request.param(tmp_path, office, "relaying")
    yield honest, relaying, machine
    honest.close()
    relaying.close()


def line_to(machine, authority, remote):
    """The machine authenticates; it believes to be talking to `authority`."""
    machine.connect = lambda *_: remote
    owner = authority.office.world.owner
    where = Whereabouts(authority.identity.ma_id, (ADDRESS,), owner, None)
    chip = Chip(machine.tpm.endorsement_keys()[0], machine.tpm.read_public(SRK_HANDLE), SRK_HANDLE)
    return open_line(machine.setting, where, machine.state.platform_id, chip, NO_SECRET)


@pytest.mark.parametrize("name", ["honest", "relaying"])
def test_a_straight_line_gives_a_session_at_either(scene, name):
    honest, relaying, machine = scene
    authority = {"honest": honest, "relaying": relaying}[name]
    line = line_to(machine, authority, Line(authority, PLATFORM))
    newest = line.newest()
    assert (newest and newest.sequence, authority.now) == ({"honest": 1, "relaying": None}[name], NOW)


def test_a_relayed_challenge_gives_no_session(scene):
    honest, relaying, machine = scene
    relay = Relay(shown=relaying, asked=honest)
    with pytest.raises(NotAuthenticated):
        line_to(machine, relaying, relay)
    # Nor does what the machine said fit at the relay's own authority, which never asked.
    ((server_nonce, proof),) = relay.said
    with pytest.raises(NotAuthenticated):
        relaying.keeper.at(PLATFORM).session(server_nonce, proof)


def test_a_relay_that_says_it_is_the_other_is_found_out_by_its_certificate(scene):
    honest, relaying, machine = scene
    with pytest.raises(NotAuthenticated):
        line_to(machine, honest, Relay(shown=relaying, asked=honest))
    assert line_to(machine, honest, Relay(shown=honest, asked=honest)).trust_list is not None
