"""The process that opens a token: what can be taken from it while it runs."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest


def core_limit(process: subprocess.Popen[bytes]) -> str:
    """The soft limit of the size of a core file of a running process."""
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    found = re.search(r"^Max core file size +(\S+)", limits, re.MULTILINE)
    assert found is not None
    return found.group(1)


@pytest.fixture
def waiting():
    """Start a program that reads its password from a pipe which stays empty, and wait until it reads."""
    with ExitStack() as stack:

        def start(*command: str) -> subprocess.Popen[bytes]:
            empty, writer = os.pipe()
            stack.callback(os.close, writer)
            process = subprocess.Popen([*command, f"--token-password={empty}"], pass_fds=[empty], preexec_fn=unlimited)
            os.close(empty)
            stack.callback(process.wait)
            stack.callback(process.kill)
            syscall = Path(f"/proc/{process.pid}/syscall")
            while syscall.read_text().split()[1:2] != [f"{empty:#x}"]:
                assert process.poll() is None
            return process

        yield start


def unlimited() -> None:
    """Let core files be as large as they like, as far as this machine allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


READS = "import os, sys; os.read(int(sys.argv[1].rpartition('=')[2]), 1)"


def test_an_open_token_leaves_no_core_file(waiting):
    opener = waiting(sys.executable, "-I", "-m", "lms.opener", "create", "--request=0", "--answer=1")
    assert core_limit(opener) == "0"


def test_another_program_would_leave_one(waiting):
    if core_limit(other := waiting(sys.executable, "-I", "-c", READS)) == "0":
        pytest.fail("this machine forbids core files to everybody, so the test above proves nothing")
    assert other.poll() is None
