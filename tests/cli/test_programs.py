"""What all three programs have in common: they say their version, and what is wrong with their command line."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

PROGRAMS = {"lmsd": "lms.daemon", "lmsctl": "lms.cli.main", "lms-authority": "lms.authority.main"}


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program as it is installed, to its end."""
    command = [sys.executable, "-m", PROGRAMS[program], *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_says_its_version(program):
    done = run(program, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{program} {version('local-migration-service')}\n"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("wrong", [("--frob", "status"), ("--config",)], ids=" ".join)
def test_a_wrong_command_line_is_told_in_one_way(program, wrong):
    done = run(program, *wrong)
    assert (done.returncode, done.stdout) == (2, "")
    first, hint = done.stderr.splitlines()
    assert first.startswith(f"{program}: cannot read the command line: ")
    assert hint == f"{program}: hint: see `--help` of this command"
