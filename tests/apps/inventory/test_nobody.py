"""`lmsctl doctor` of a user who is not root, at a real `lmsd` and a real polkitd that allows what is its default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.support.bus import POLICIES, PolicyKit, PrivateBus
from tests.support.daemon import Daemon

_TREE = Path(__file__).parents[3]


@pytest.fixture
def readable():
    """A directory that everybody may read."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.fixture
def config(archived, readable, tmp_path_factory):
    """The configuration of a machine with its daemon, as a user may read it."""
    with PrivateBus(POLICIES / "org.localmigration1.conf") as bus:
        polkitd = PolicyKit(bus, tmp_path_factory.mktemp("polkit"), POLICIES / "org.localmigration1.policy", "")
        archived.let_go()
        path = archived.write_config(bus=f'"{bus.address}"')
        daemon = Daemon(path)
        polkitd.start()
        try:
            daemon.start().until("READY=1")
            (readable / "lms.toml").write_text(path.read_text())
            (readable / "lms.toml").chmod(0o644)
            yield readable / "lms.toml"
        finally:
            daemon.remove()
            polkitd.stop()


def doctor(config: Path, *words: object) -> tuple[int, dict]:
    """As nobody types it."""
    command = [sys.executable, "-m", "tests.support.nobody", "lms.cli.main", "--config", config, "--json", "doctor"]
    environment = os.environ | {"PYTHONPATH": str(_TREE)}
    done = subprocess.run([*map(str, (*command, *words))], capture_output=True, env=environment, check=False)
    assert done.stdout, done.stderr.decode()
    return done.returncode, json.loads(done.stdout)


def test_who_is_not_root_learns_what_everybody_may(config, readable, blob):
    (readable / "kmk.blob").write_bytes(blob)
    (readable / "kmk.blob").chmod(0o644)
    (readable / "secret.blob").write_bytes(blob)
    (readable / "secret.blob").chmod(0o600)
    code, found = doctor(config, "--path", readable)
    assert code == 0
    assert {(row["what"], row["where"], row["state"]) for row in found["bound"]} >= {
        ("recoverable key", "0x81000004", "protected"),
        ("persistent key", "in the TPM", "unknown"),
        ("trusted key", str(readable / "kmk.blob"), "protected"),
    }
    assert found["findings"] == []
    told = "\n".join(found["unseen"])
    assert "only root is told" in told
    assert f"cannot read '{readable}/secret.blob': permission denied" in told
    assert "cannot read '/etc/" in told
    code, lost = doctor(config, "--before", "clear")
    assert (code, "persistent key" in {row["what"] for row in lost["loses"]}) == (7, True)
