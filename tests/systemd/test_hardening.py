"""What can be taken from a program of ours while it runs, by another one of the same user or by a core file.

All run as root without any capability: to such a user, another process of root is as a user's other process is.
"""

from __future__ import annotations

import os
import pty
import re
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.keeping import make_authority

POWERLESS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
READS = "import os, sys; os.read(int(sys.argv[1].rpartition('=')[2]), 1)"


def core_limits(pid: int) -> tuple[str, str]:
    """The soft and the hard limit of the size of a core file of a running process."""
    limits = Path(f"/proc/{pid}/limits").read_text()
    found = re.search(r"^Max core file size +(\S+) +(\S+)", limits, re.MULTILINE)
    assert found is not None
    return found[1], found[2]


def is_readable(pid: int) -> bool:
    """Whether another program of the same user may look into a process: ptrace, gcore and this ask the same."""
    read = subprocess.run([*POWERLESS, "cat", f"/proc/{pid}/environ"], capture_output=True, check=False)
    assert read.returncode == 0 or b"Permission denied" in read.stderr
    return read.returncode == 0


def unlimited() -> None:
    """Let core files be as large as they like, as far as this machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Python without capabilities, which is what all helpers start from now on."""
    python = tmp_path / "powerless-python"
    python.write_text(f'#!/bin/sh\nexec {" ".join(POWERLESS)} {sys.executable} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return str(python)


@pytest.fixture
def stack():
    """Ends what a test started."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(stack):
    """Starts a process that ends with the test."""

    def begin(*command: object, **more) -> subprocess.Popen[bytes]:
        process = stack.enter_context(subprocess.Popen([str(word) for word in command], preexec_fn=unlimited, **more))
        stack.callback(process.kill)
        return process

    return begin


@pytest.fixture
def waiting(stack, start, python):
    """Starts a program that reads a password from a pipe which stays empty, and waits until it reads."""

    def begin(*words: str) -> int:
        empty, writer = os.pipe()
        stack.callback(os.close, writer)
        process = start(python, "-I", *words, f"--token-password={empty}", pass_fds=[empty])
        os.close(empty)
        syscall = Path(f"/proc/{process.pid}/syscall")
        while syscall.read_text().split()[1:2] != [f"{empty:#x}"]:
            assert process.poll() is None
        return process.pid

    return begin


def assert_hardened(pid: int) -> None:
    assert not is_readable(pid)
    assert core_limits(pid) == ("0", "0")


def test_another_program_would_show_everything(waiting):
    other = waiting("-c", READS)
    assert is_readable(other)
    if core_limits(other)[0] == "0":
        pytest.fail("this machine forbids core files to everybody, so the tests below prove nothing")


def test_a_program_in_which_a_token_is_open_shows_nothing(waiting):
    assert_hardened(waiting("-m", "lms.opener", "create", "--request=0", "--answer=1"))


def test_a_program_that_does_one_act_shows_nothing(waiting):
    assert_hardened(waiting("-m", "lms.boot", "restore", "--options=0", "--answer=1"))


def test_the_service_shows_nothing(python, platform, daemons):
    assert_hardened(daemons(platform).pid)


def test_an_authority_shows_nothing(python, start, tmp_path):
    (tmp_path / "state").mkdir()
    make_authority(tmp_path / "state").store.close()
    config = tmp_path / "lms.toml"
    config.write_text(f'[authority]\nstate_directory = "{tmp_path}/state"\nlisten = "127.0.0.1:0"\n')
    serving = start(python, "-m", "lms.authority.main", "--config", config, "serve", stderr=subprocess.PIPE)
    assert b"port" in serving.stderr.readline()
    assert_hardened(serving.pid)


def test_a_program_that_asks_a_person_shows_nothing(python, start, stack, tmp_path, token):
    file = tmp_path / "token"
    file.write_bytes(token.document)
    terminal, ours = pty.openpty()
    stack.callback(os.close, terminal)
    asked = (python, "-m", "lms.cli.main", "restore", "--token", file)
    asking = start("setsid", "--ctty", *asked, stdin=ours, stderr=ours)
    os.close(ours)
    said = b""
    while b"token password: " not in said:
        said += os.read(terminal, 1024)
    assert_hardened(asking.pid)
