"""How long a machine whose keys are gone boots while its authority is silent or absent, or says nonsense."""

from __future__ import annotations

import socket
import socketserver
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Final

import pytest

from tests.support.authority import kept_port
from tests.support.guest import Guest

pytestmark = pytest.mark.vm

_UNITS: Final = "lms.service", "lms-restore.service", "lms-evm.service", "lms-reactivate.path", "lms-archive.timer"
_MASKED: Final = " ".join(f"systemd.mask={unit}" for unit in _UNITS)
_ASKS: Final = "job [0-9]* restores"
_BOOTS: Final = 2
_MORE_S: Final = 2.0


@contextmanager
def silent_port() -> Iterator[int]:
    """Whoever connects is let in and hears nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@contextmanager
def babbling_port() -> Iterator[int]:
    """Whoever connects is told nonsense, and then kept waiting."""

    class Babble(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError):
                self.request.sendall(bytes(range(256)) * 64)
                self.request.recv(1)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Babble) as server:
        server.daemon_threads = True
        listening = Thread(target=server.serve_forever)
        listening.start()
        yield int(server.server_address[1])
        server.shutdown()
        listening.join()


def booted_s(guest: Guest, more: str = "") -> float:
    """Seconds from the kernel's beginning to multi-user.target, on a TPM without the keys."""
    guest.replace_tpm()
    guest.start(more)
    (reached,) = guest.moments("multi-user.target", "ActiveEnter")
    if more != _MASKED:
        guest.run(f"timeout 300 sh -c 'until journalctl --boot | grep -q \"{_ASKS}\"; do sleep 1; done'")
    guest.kill()
    return reached / 1e6


def test_a_boot_waits_for_no_authority(guests, kept, record_property):
    with silent_port() as silent, babbling_port() as babbling, kept_port() as absent:
        ways = {
            "without the service": (None, _MASKED),
            "authority is silent": (silent, ""),
            "authority is absent": (absent, ""),
            "authority babbles": (babbling, ""),
        }
        rounds = [
            {way: booted_s(guests(kept.guest, reaches=port), more) for way, (port, more) in ways.items()}
            for _ in range(_BOOTS)
        ]
    best = {way: min(one[way] for one in rounds) for way in ways}
    for way, took in best.items():
        record_property(f"multi-user.target, {way}, s", round(took, 2))
    assert max(best.values()) <= best["without the service"] + _MORE_S, rounds
