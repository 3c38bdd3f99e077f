"""The machine on which these tests run, and a token."""

from __future__ import annotations

import pytest

from tests.support.machine import Machine

__all__ = ["machine"]


@pytest.fixture
def machine(tmp_path):
    """The machine, as after its first boot."""
    for directory in (tmp_path, *tmp_path.parents[:2]):  # pytest's own are root's alone
        directory.chmod(0o755)
    machine = Machine(tmp_path)
    try:
        yield machine.begin()
    finally:
        machine.end()
