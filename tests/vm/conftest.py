"""Guests that begin where a test wants them, and the parts that they are made of (`make test-vm`)."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.entrusted import Kept, entrust, keep
from tests.support.guest import AUTHORITY_ADDRESS, Guest, Parts
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
    """Kernel and disk, made where they are not there or something of them changed."""
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


@pytest.fixture(scope="session")
def protected(tmp_path_factory, parts, maker, token):
    """A guest that is off, as `tests.support.protected` left it; to be copied."""
    guest = Guest(tmp_path_factory.mktemp("protected"), parts, maker).make()
    try:
        guest.start()
        protect(guest, token)
        guest.stop()
        yield guest
    finally:
        guest.tell()
        guest.remove()


@pytest.fixture(scope="session")
def kept(tmp_path_factory, parts, maker) -> Iterator[Kept]:
    """A guest that is off, as `tests.support.entrusted` left it; to be copied."""
    directory = tmp_path_factory.mktemp("kept")
    owner = Station(directory / "owner")
    with Serving(directory / "authority", owner, address=AUTHORITY_ADDRESS) as authority:
        guest = Guest(directory / "guest", parts, maker, reaches=authority.port).make()
        try:
            guest.start()
            keep(guest, owner, directory)
            entrust(guest)
            guest.stop()
            yield Kept(guest, owner, authority)
        finally:
            guest.tell()
            guest.remove()
