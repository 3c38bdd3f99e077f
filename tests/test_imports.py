"""What a program loads before it does anything: large libraries only where an act needs them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.swtpm import SoftwareTpm

_LOADED = "import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {{{names}}}))"
_LARGE = ("psycopg", "requests", "sqlalchemy", "urllib3", "zeep")


def loaded(module: str, *names: str) -> list[str]:
    """Which of these libraries a program has when it imported a module of ours."""
    words = ", ".join(repr(name) for name in names)
    command = [sys.executable, "-I", "-c", _LOADED.format(module=module, names=words)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.parametrize("module", ["lms.assembly", "lms.daemon", "lms.boot", "lms.cli.main", "lms.authority.main"])
def test_what_speaks_to_no_authority_and_keeps_no_vault_loads_neither_library(module):
    assert loaded(module, *_LARGE) == []


def test_looking_at_a_tpm_takes_no_libtss2(tmp_path):
    tpm = SoftwareTpm(tmp_path).start()
    look = f"lms.daemon, lms.adapters.tpm; t = lms.adapters.tpm.TpmDevice('{tpm.tcti}'); t.owner_auth_is_set()"
    try:
        assert loaded(f"{look}; t.read_public(0x81000004)", "tpm2_pytss") == []
        assert loaded(f"{look}; t.random(8)", "tpm2_pytss") == ["tpm2_pytss"]
    finally:
        tpm.remove()


def top_level(module: str) -> set[str]:
    """What of no standard library is loaded with a module."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-I", "-c", code], check=True, capture_output=True, text=True)
    return {*done.stdout.split()} - sys.stdlib_module_names


def test_a_look_at_boot_takes_nothing_but_the_standard_library():
    assert top_level("lms.early.__main__") - top_level("sys") == {"lms"}
    later = ("argparse", "ctypes", "hmac", "logging", "socket", "subprocess", "tomllib")
    assert loaded("lms.early.__main__", *later) == []


def test_libraries_that_are_loaded_are_found():
    assert loaded("lms.daemon", "lxml", *_LARGE) == ["lxml"]
    assert loaded("lms.adapters.vault", *_LARGE) == ["sqlalchemy"]
