"""Guests that begin where a test wants them, and the parts that they are made of (`make test-vm`)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.entrusted import Kept, entrust, format_volume, keep, open_at_boot, unchanged
from tests.support.guest import AUTHORITY_ADDRESS, LUKS_DISK, Guest, Parts
from tests.support.protected import protect
from tests.support.station import Serving, Station

_PROJECT = Path(__file__).parents[2]


def pytest_terminal_summary(terminalreporter) -> None:
    """Say what was measured; nothing is judged by it."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def parts() -> Parts:
    """Kernel, initrd and disk, made where they are not there or something of them changed."""
    made = subprocess.run([_PROJECT / "tools/guest"], check=True, stdout=subprocess.PIPE, text=True)
    return Parts(*map(Path, made.stdout.splitlines()))


@pytest.fixture(scope="session")
def maker(tmp_path_factory) -> Path:
    """The maker of all TPMs: the directory of its CA."""
    return tmp_path_factory.mktemp("maker")


@pytest.fixture
def guests(tmp_path, parts, maker):
    """Makes guests that are gone after the test: `guests()` is a new one, `guests(first)` a copy of another.

    What they last said and wrote down is shown where the test fails.
    """
    made: list[Guest] = []

    def make(of: Guest | None = None, **how) -> Guest:
        directory = tmp_path / f"guest{len(made)}"
        made.append(Guest(directory, parts, maker, **how).make() if of is None else of.copy_to(directory, **how))
        return made[-1]

    yield make
    for guest in made:
        guest.tell()
        guest.remove()


@contextmanager
def _remembered(guest: Guest) -> Iterator[Guest]:
    """This guest, which tells how it went and is gone in the end."""
    try:
        yield guest
    finally:
        guest.tell()
        guest.remove()


@pytest.fixture(scope="session")
def protected(tmp_path_factory, parts, maker, token):
    """A guest that is off, as `tests.support.protected` left it; to be copied."""
    with _remembered(Guest(tmp_path_factory.mktemp("protected"), parts, maker).make()) as guest:
        guest.start()
        protect(guest, token)
        guest.stop()
        yield guest


@pytest.fixture(scope="session")
def volume(tmp_path_factory, protected) -> Iterator[Guest]:
    """A protected guest that is off, with a volume that systemd opens at boot; to be copied.

    It is enrolled as the manual page of systemd-cryptenroll says: offline, with the recoverable key.
    """
    with _remembered(protected.copy_to(tmp_path_factory.mktemp("volume"))) as guest:
        guest.start()
        format_volume(guest)
        guest.run("tpm2_readpublic -Q -c 0x81000004 -o /root/drsk.pub")
        guest.run(
            "systemd-cryptenroll --unlock-key-file=/root/passphrase --tpm2-device-key=/root/drsk.pub "
            f"--tpm2-seal-key-handle=0x81000004 --tpm2-pcrs= {LUKS_DISK}"
        )
        open_at_boot(guest)
        guest.stop()
        yield guest


@pytest.fixture(scope="session")
def kept(tmp_path_factory, parts, maker) -> Iterator[Kept]:
    """A guest that is off, as `tests.support.entrusted` left it; to be copied."""
    directory = tmp_path_factory.mktemp("kept")
    owner = Station(directory / "owner")
    with (
        Serving(directory / "authority", owner, address=AUTHORITY_ADDRESS) as authority,
        _remembered(Guest(directory / "guest", parts, maker, reaches=authority.port).make()) as guest,
    ):
        guest.start()
        keep(guest, owner, directory)
        entrust(guest)
        blobs = unchanged(guest)
        guest.stop()
        yield Kept(guest, blobs, owner, authority)
