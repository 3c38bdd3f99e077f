"""Configuration: what is read, and how what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from lms.assembly import assembled
from lms.config import SETTINGS, Configuration, load_configuration
from lms.errors import BadConfiguration, FileProblem
from lms.model.keys import Algorithm
from lms.model.secret import Secret

GOOD = {
    "tcti": ('"swtpm:path=/x"', "swtpm:path=/x"),
    "state_directory": ('"/var/lib/other"', Path("/var/lib/other")),
    "algorithm": ('"rsa-2048"', Algorithm.RSA_2048),
    "srk_handle": ("0x81000013", 0x81000013),
    "drsk_handle": ("0x81000014", 0x81000014),
    "ek_roots": ('["/a.pem", "/b"]', (Path("/a.pem"), Path("/b"))),
    "archives": ('["/mnt"]', (Path("/mnt"),)),
}
BAD = {
    "tcti": '""',
    "state_directory": '"relative"',
    "algorithm": '"rsa-1024"',
    "srk_handle": "0x81800000",
    "drsk_handle": "true",
    "ek_roots": '"/not/a/list"',
    "archives": "[7]",
    "unknown": "1",
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lms.toml"


def test_every_key_is_tried():
    assert GOOD.keys() == SETTINGS.keys() <= BAD.keys()


@pytest.mark.parametrize("key", GOOD)
def test_a_good_value(path, key):
    text, value = GOOD[key]
    path.write_text(f"{key} = {text}\n")
    assert getattr(load_configuration(path), key) == value


@pytest.mark.parametrize("key", BAD)
def test_a_bad_value_is_named_with_file_line_and_key(path, key):
    path.write_text(f"# a comment\n\n{key} = {BAD[key]}\n")
    with pytest.raises(BadConfiguration) as caught:
        load_configuration(path)
    assert all(part in str(caught.value) for part in (str(path), "line 3", f"'{key}'"))


@pytest.mark.parametrize("content", [b"tcti = \n", b"\xff"], ids=["no-toml", "no-utf8"])
def test_what_is_no_toml_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(BadConfiguration, match=r"lms\.toml"):
        load_configuration(path)


def test_an_empty_file_gives_the_defaults(path):
    path.write_text("")
    assert load_configuration(path) == Configuration()


def test_a_named_file_must_exist(path):
    with pytest.raises(FileProblem):
        load_configuration(path)


def test_later_files_win(path):
    path.write_text('tcti = "swtpm:path=/main"\nalgorithm = "rsa-2048"\n')
    drop_ins = path.with_name("lms.toml.d")
    drop_ins.mkdir()
    (drop_ins / "20.toml").write_text('tcti = "swtpm:path=/twenty"\n')
    (drop_ins / "10.toml").write_text('tcti = "swtpm:path=/ten"\n')
    (drop_ins / "30.conf").write_text("no toml at all")
    configuration = load_configuration(path)
    assert (configuration.tcti, configuration.algorithm) == ("swtpm:path=/twenty", Algorithm.RSA_2048)
    (drop_ins / "40.toml").write_text("unknown = 1\n")
    with pytest.raises(BadConfiguration, match=r"40\.toml', line 1"):
        load_configuration(path)


def test_two_keys_do_not_share_a_handle(path):
    path.write_text("srk_handle = 0x81000004\n")
    with pytest.raises(BadConfiguration, match="the same"):
        load_configuration(path)


def test_roots_that_are_no_certificates_are_named(tmp_path):
    (tmp_path / "bad.pem").write_text("no certificate")
    configuration = Configuration(state_directory=tmp_path / "state", ek_roots=(tmp_path,))
    with pytest.raises(BadConfiguration, match=r"bad\.pem"), assembled(configuration, Secret(b"")):
        raise AssertionError
