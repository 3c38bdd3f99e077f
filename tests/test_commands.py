"""Programs that are not ours: what they are given nobody else sees, and they keep a lock when we are killed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys

import pytest

from lms.errors import Busy, ProgramNotStarted
from lms.files import locked
from lms.model.secret import Secret
from lms.process import run_command

# Holds the lock of a directory, and starts what says in one pipe that it runs, and waits at another one.
HOLDER = """
import sys
from pathlib import Path
from lms.files import locked
from lms.process import run_command
with locked(Path(sys.argv[1])) as lock:
    run_command("sh", "-c", f"echo here >{sys.argv[2]}; read word <{sys.argv[3]}", kept=(lock,))
"""


def test_a_secret_comes_by_descriptor_alone():
    secret = Secret(bytes(range(256)) * 300)
    assert run_command("cat", secret, secret).out == secret.reveal() * 2
    words = run_command("sh", "-c", "cat /proc/$$/cmdline /proc/$$/environ", "sh", Secret(b"a secret")).out
    assert b"/dev/fd/" in words
    assert b"a secret" not in words


def test_what_we_were_told_is_not_told_on(monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")
    ran = run_command("sh", "-c", "env; echo Some  words >&2; exit 7")
    assert (ran.code, ran.said) == (7, "Some words")
    assert b"CREDENTIALS" not in ran.out


def test_programs_are_those_of_the_system():
    path = run_command("sh", "-c", "echo $PATH").out.decode().split(":")
    assert "/usr/bin" in path
    assert not [directory for directory in path if "local" in directory]


def test_a_program_that_is_not_there_is_told():
    with pytest.raises(ProgramNotStarted, match="no-such-program"):
        run_command("no-such-program")


def test_a_program_keeps_our_lock_when_we_are_killed(tmp_path):
    here, go = tmp_path / "here", tmp_path / "go"
    for pipe in (here, go):
        os.mkfifo(pipe)
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path / "kept", here, go])
    assert here.read_text() == "here\n"
    holder.kill()
    holder.wait()
    with pytest.raises(Busy), locked(tmp_path / "kept"):
        pass
    go.write_text("on\n")
    with (tmp_path / "kept" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the program has ended
    with locked(tmp_path / "kept"):
        pass
