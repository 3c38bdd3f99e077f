"""The unit of `lms-agent`, as it is installed, under a real `systemd --user`: it starts, shows, and ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.bus import NOBODY
from tests.support.user_manager import UserManager

pytestmark = pytest.mark.slow
TREE = Path(__file__).parents[2]
UNIT = TREE / "systemd/user/lms-agent.service"
# Nobody may not read this interpreter, and nothing is installed.
_HERE = """
[Service]
ExecStart=
ExecStart=/usr/bin/python3 -m lms.agent.main --config {config}
Environment=PYTHONPATH={tree}:{libraries} DBUS_SESSION_BUS_ADDRESS={session} XDG_STATE_HOME={home}/state
"""


@pytest.fixture
def manager(desktop):
    """The manager of the person at this desktop, who has the unit."""
    units = desktop.directory / ".config/systemd/user"
    dropped = units / f"{UNIT.name}.d"
    dropped.mkdir(parents=True)
    (units / UNIT.name).write_bytes(UNIT.read_bytes())
    here = _HERE.format(
        config=desktop.config,
        tree=TREE,
        libraries=Path(pytest.__file__).parents[1],
        session=desktop.session,
        home=desktop.directory,
    )
    (dropped / "here.conf").write_text(here)
    for path in desktop.directory.rglob(".config"):
        for one in (path, *path.rglob("*")):
            os.chown(one, NOBODY, NOBODY)
    manager = UserManager(desktop.directory)
    yield manager
    manager.close()


def shown(manager: UserManager, what: str) -> str:
    code, said = manager.run(f"systemctl --user show --value --property={what} {UNIT.name}")
    assert code == 0, said
    return said.strip()


def test_it_starts_in_its_sandbox_shows_and_ends_with_the_session(archived, daemons, desktop, manager):
    archived.evict()
    daemons(archived)
    assert manager.run(f"systemctl --user start {UNIT.name}") == (0, "")
    assert desktop.shown().title == "This machine lost its keys"
    sandboxed = {"NoNewPrivs:\t1", "Seccomp:\t2"}
    assert sandboxed <= {*Path(f"/proc/{shown(manager, 'MainPID')}/status").read_text().splitlines()}
    _, ours = manager.run("cat /proc/self/status")
    assert not sandboxed & {*ours.splitlines()}
    assert manager.run(f"systemctl --user stop {UNIT.name}") == (0, "")
    assert (shown(manager, "ActiveState"), shown(manager, "Result")) == ("inactive", "success")


def test_a_wrong_configuration_ends_it_for_good(desktop, manager):
    desktop.config.write_text("bus = 1\n")
    code, said = manager.run(f"systemctl --user start --wait {UNIT.name}")
    assert code == 1, said
    assert (shown(manager, "ActiveState"), shown(manager, "ExecMainStatus")) == ("failed", "2")
    assert shown(manager, "NRestarts") == "0"
