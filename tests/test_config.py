"""Configuration: what is read, and how what is wrong is named."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest

from lms.assembly import assembled, ca_certificates
from lms.config import SETTINGS, Configuration, Endpoint, TokenPlace, load_configuration
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
    "bus": ('"unix:path=/x"', "unix:path=/x"),
    "recovery_directory": ('"/boot/other"', Path("/boot/other")),
    "recovery_token": (
        '"LABEL=STICK/keys/token.xml"',
        TokenPlace(Path("/dev/disk/by-label/STICK"), Path("keys/token.xml")),
    ),
    "restore_unasked": ("false", False),
    "applications_directory": ('"/srv/apps"', Path("/srv/apps")),
    "authority.state_directory": ('"/srv/ma"', Path("/srv/ma")),
    "authority.listen": ('"[2001:db8::1]:443"', Endpoint("2001:db8::1", 443)),
    "authority.store": ('"postgresql://db/ma"', "postgresql://db/ma"),
    "authority.tcti": ('"swtpm:path=/ma"', "swtpm:path=/ma"),
    "authority.retention_days": ("30", 30),
    "authority.quota_mib": ("7", 7),
    "authority.ek_roots": ('["/c"]', (Path("/c"),)),
    "station.state_directory": ('"/srv/station"', Path("/srv/station")),
    "station.trust_list": ('"/srv/trust.xml"', Path("/srv/trust.xml")),
    "station.ek_roots": ('["/d"]', (Path("/d"),)),
}
BAD = {
    "tcti": '""',
    "state_directory": '"relative"',
    "algorithm": '"rsa-1024"',
    "srk_handle": "0x81800000",
    "drsk_handle": "true",
    "ek_roots": '"/not/a/list"',
    "archives": "[7]",
    "bus": '"tcp:host=x"',
    "recovery_directory": '"boot"',
    "recovery_token": '"LABEL=STICK"',
    "restore_unasked": "0",
    "applications_directory": '"apps"',
    "unknown": "1",
    "authority.state_directory": "7",
    "authority.listen": '"2001:db8::1:443"',
    "authority.store": "7",
    "authority.tcti": '""',
    "authority.retention_days": "0",
    "authority.quota_mib": "true",
    "authority.ek_roots": "[7]",
    "authority.unknown": "1",
    "station.state_directory": '"relative"',
    "station.trust_list": '"relative"',
    "station.ek_roots": "[7]",
    "station.unknown": "1",
    "authority": "7",
}


NO_TCTI = ("mssim:port=1", "swtpm:", "swtpm:host=localhost", "swtpm:host=h,port=x", "device:x", "swtpm:path=/x,y=1")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lms.toml"


def test_every_key_is_tried():
    assert GOOD.keys() == SETTINGS.keys() <= BAD.keys()


@pytest.mark.parametrize("key", GOOD)
def test_a_good_value(path, key):
    text, value = GOOD[key]
    path.write_text(f"{key} = {text}\n")
    assert attrgetter(key)(load_configuration(path)) == value


@pytest.mark.parametrize("key", BAD)
def test_a_bad_value_is_named_with_file_line_and_key(path, key):
    path.write_text(f"# a comment\n\n{key} = {BAD[key]}\n")
    with pytest.raises(BadConfiguration) as caught:
        load_configuration(path)
    assert all(part in str(caught.value) for part in (str(path), "line 3", f"'{key}'"))


def test_a_bad_value_in_a_table_is_named(path):
    path.write_text('tcti = "swtpm:path=/x"\n\n[authority]\nlisten = "localhost:1"\ntcti = 7\n')
    with pytest.raises(BadConfiguration, match=r"line 5, key 'authority\.tcti'"):
        load_configuration(path)


@pytest.mark.parametrize("value", ["localhost", ":8443", "[::1]", "host:", "host:x", "host:65536", "[]:1"])
def test_a_place_to_listen_at_has_host_and_port(path, value):
    path.write_text(f'[authority]\nlisten = "{value}"\n')
    with pytest.raises(BadConfiguration, match=r"line 2, key 'authority\.listen'"):
        load_configuration(path)
    path.write_text('[authority]\nlisten = "localhost:8443"\n')
    assert load_configuration(path).authority.listen == Endpoint("localhost", 8443)


def test_an_authority_keeps_packages_in_its_directory_unless_it_is_said(path):
    path.write_text('[authority]\nstate_directory = "/srv/ma"\n')
    assert load_configuration(path).authority.store_url == "sqlite:////srv/ma/vault.sqlite"
    path.write_text('authority.store = "postgresql://db/ma"\n')
    assert load_configuration(path).authority.store_url == "postgresql://db/ma"


@pytest.mark.parametrize("content", [b"tcti = \n", b'tcti = "\xff"'], ids=["no-toml", "no-utf8"])
def test_what_is_no_toml_is_refused(path, content):
    path.write_bytes(b"# a comment\n\n" + content)
    with pytest.raises(BadConfiguration, match=r"lms\.toml'.*\(at line 3\b"):
        load_configuration(path)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[foo]\nbar = 1", "foo"),
        ("[foo.bar]\nbaz = 1", "foo"),
        ("[[foo]]", "foo"),
        ("foo.bar = 1", "foo"),
        ("foo = { bar = 1 }", "foo"),
        ('"foo bar" = 1', "foo bar"),
        ("[authority.foo]\nlisten = 1", "authority.foo"),
        ("authority = { foo = 1 }", "authority.foo"),
        ("[tcti]", "tcti"),
    ],
)
def test_what_is_unknown_is_named_however_it_is_written(path, text, key):
    path.write_text(f'[station]\nek_roots = ["/foo"]\n\n{text}\n' if text[0] == "[" else f"\n\n\n{text}\n")
    with pytest.raises(BadConfiguration, match=rf"'{path}', line 4, key '{key}': "):
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


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("tcti", "authority.tcti") for value in NO_TCTI),
        *(("bus", value) for value in ("unix:", "unix:tmpdir=/x", "user", "unix:path=")),
        *(
            ("authority.store", value)
            for value in ("mysql://x:secret@db/ma", "sqlite://", "sqlite:///ma?mode=ro", "/srv/ma")
        ),
    ],
)
def test_a_text_of_another_form_is_named_and_not_quoted(path, key, value):
    path.write_text(f'\n{key} = "{value}"\n')
    with pytest.raises(BadConfiguration, match=rf"line 2, key '{key}': expected") as caught:
        load_configuration(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("handles", "line"),
    [
        ({"srk_handle": 0x81000004}, "line 2, key 'srk_handle'"),
        ({"drsk_handle": 0x81000003}, "line 2, key 'drsk_handle'"),
        ({"srk_handle": 0x81000005, "drsk_handle": 0x81000005}, "line 3, key 'drsk_handle'"),
    ],
)
def test_two_keys_do_not_share_a_handle(path, handles, line):
    path.write_text("\n" + "".join(f"{key} = {value:#x}\n" for key, value in handles.items()))
    with pytest.raises(BadConfiguration, match=f"{line}.*the same"):
        load_configuration(path)


ROOTS = ["ek_roots", "authority.ek_roots", "station.ek_roots"]


@pytest.mark.parametrize("key", ROOTS)
@pytest.mark.parametrize(
    ("named", "why"),
    [("", "'{}/bad.pem' holds no CA"), ("/bad.pem", "'{}/bad.pem' holds no CA"), ("/none.pem", "cannot read '{}/none")],
    ids=["in a directory", "a file", "absent"],
)
def test_roots_that_are_no_certificates_are_named_with_file_line_and_key(path, tmp_path, key, named, why):
    (tmp_path / "bad.pem").write_text("no certificate")
    path.write_text(f'# a comment\n\n{key} = ["{tmp_path}{named}"]\n')
    where = rf"cannot accept '{path}', line 3, key '{key}': "
    with pytest.raises(BadConfiguration, match=where + why.format(tmp_path)):
        ca_certificates(load_configuration(path), key)


def test_roots_of_a_drop_in_are_named_with_that_file(path, tmp_path):
    path.write_text('ek_roots = ["/nowhere"]\n')
    drop_in = tmp_path / "lms.toml.d" / "maker.toml"
    drop_in.parent.mkdir()
    drop_in.write_text('\nek_roots = ["/nowhere/else"]\n')
    with pytest.raises(BadConfiguration, match=f"'{drop_in}', line 2, key 'ek_roots': .*'/nowhere/else'"):
        ca_certificates(load_configuration(path), "ek_roots")


def test_a_service_whose_roots_are_bad_is_not_assembled(tmp_path):
    configuration = Configuration(state_directory=tmp_path / "state", ek_roots=(tmp_path / "none.pem",))
    with pytest.raises(BadConfiguration, match="key 'ek_roots'"), assembled(configuration, Secret(b"")):
        raise AssertionError


def test_only_the_services_own_state_is_copied_to_boot():
    assert Configuration().recovery == Path("/boot/lms")
    assert Configuration(state_directory=Path("/tmp/other")).recovery is None
    assert Configuration(state_directory=Path("/tmp/other"), recovery_directory=Path("/x")).recovery == Path("/x")
