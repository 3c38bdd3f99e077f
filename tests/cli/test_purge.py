"""`lmsctl purge`: shows what is left, takes it away with its digits, and never a token or the newest package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lms.adapters.store.remains import remains
from lms.files import locked
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE
from tests.support.acts import act
from tests.support.platform import OWNER_AUTH, PASSWORD, Platform, lmsctl


@pytest.fixture
def config(archived, tmp_path) -> Path:
    """The configuration of a machine with an older package, a recovery directory, a token at hand and records."""
    token, records = tmp_path / "token.xml", tmp_path / "applications/luks/some-uuid/registered"
    token.write_bytes(b"a token")
    records.parent.mkdir(parents=True)
    records.write_bytes(b"digest")
    with locked(archived.state_directory):
        act(archived, "archive", boot=tmp_path / "boot")
    archived.let_go()
    return archived.write_config(
        recovery_directory=f'"{tmp_path}/boot"',
        recovery_token=f'"{token}"',
        applications_directory=f'"{tmp_path}/applications"',
    )


@pytest.fixture
def digits(config) -> str:
    """What confirms that this platform is meant."""
    return str(lmsctl("purge", config=config).json["confirm"])


def tree(directory: Path) -> dict[str, bytes]:
    """All files below a directory, but those of a TPM that runs."""
    files = (path for path in directory.rglob("*") if path.is_file() and "tpm" not in path.parts)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def fates(said) -> dict[str, set[str]]:
    """What becomes of each kind of thing."""
    found: dict[str, set[str]] = {}
    for row in said.json["remains"]:
        found.setdefault(row["what"], set()).add(row["fate"])
    return found


def registered(config: Path, tmp_path: Path) -> None:
    """Something depends on the key."""
    (tmp_path / "data").write_bytes(b"data")
    where = ("--application", "luks", "--label", "disk", "--data", tmp_path / "data")
    assert lmsctl("register", *where, config=config).exit_code == 0


def test_looking_takes_nothing_away(config, tmp_path):
    before = tree(tmp_path)
    said = lmsctl("purge", config=config)
    assert (said.exit_code, tree(tmp_path)) == (0, before)
    assert fates(said) == {
        "state": {"goes"},
        "recovery-facts": {"goes"},
        "application-records": {"goes"},
        "configuration": {"goes"},
        "newest-package": {"stays"},
        "older-package": {"stays"},
        "destination": {"stays"},
        "recoverable-key": {"stays"},
        "storage-root-key": {"stays"},
        "token": {"stays"},
    }
    assert said.json["confirm"] in said.stderr


def test_what_goes_is_gone_and_the_keys_still_come_back(config, digits, archived, tmp_path, token, child):
    newest, key = archived.packages[-1], archived.state.require_drsk().name.digits
    said = lmsctl("purge", "--confirm", digits, config=config)
    assert (said.exit_code, fates(said)["state"]) == (0, {"gone"})
    assert set(tree(archived.state_directory)) == {"package.xml", "lock"}
    assert set(tree(tmp_path / "boot")) == {"lms-package.xml"}
    assert (tmp_path / "token.xml").read_bytes() == b"a token"
    assert (len(archived.packages), config.exists(), (tmp_path / "applications/luks").exists()) == (2, False, False)
    assert archived.key_at(DRSK_HANDLE) is not None
    archived.evict()
    archived.restore(token, newest.read_bytes(), confirmed_key=key)
    assert archived.unseal(child)


def test_asked_twice_is_asked_once(config, digits, archived, tmp_path):
    text = config.read_text()
    assert lmsctl("purge", "--confirm", digits, config=config).exit_code == 0
    before = tree(tmp_path)
    config.write_text(text)
    said = lmsctl("purge", "--confirm", digits, config=config)
    assert (said.exit_code, tree(tmp_path)) == (0, before)


def test_a_purge_that_was_cut_anywhere_goes_on(config, archived, tmp_path):
    """Whatever is gone already, the state is not before the rest is."""
    registered(config, tmp_path)
    files = remains(archived.state_directory)
    assert files[-1] == archived.state_directory / "state.json"
    files[0].unlink()
    digits = lmsctl("purge", config=config).json["confirm"]
    assert lmsctl("purge", "--confirm", digits, "--lose", config=config).exit_code == 0
    assert remains(archived.state_directory) == []


def test_other_digits_take_nothing_away(config, tmp_path):
    before = tree(tmp_path)
    said = lmsctl("purge", "--confirm", "AAAA-AAAA-AAAA-AAAA", "--lose", config=config)
    assert (said.exit_code, said.json["error"], tree(tmp_path)) == (7, "PurgeUnconfirmed", before)


def test_a_key_that_something_depends_on_stays_unless_that_is_said(config, digits, archived, tmp_path):
    registered(config, tmp_path)
    before = tree(tmp_path)
    said = lmsctl("purge", "--confirm", digits, "--lose", config=config)
    assert (said.json["error"], tree(tmp_path)) == ("PurgeUnconfirmed", before), "nobody was shown what would be lost"
    looked = lmsctl("purge", config=config)
    now = looked.json["confirm"]
    assert looked.json["lost"] == ["luks disk"]
    assert f"--confirm {now} --lose" in looked.stderr
    said = lmsctl("purge", "--confirm", now, config=config)
    assert (said.json["error"], tree(tmp_path)) == ("StillProtecting", before)
    assert "luks disk" in said.stderr
    assert lmsctl("purge", "--confirm", now, "--lose", config=config).exit_code == 0
    assert not (archived.state_directory / "items").exists()


def test_a_header_in_the_middle_of_a_change_stays_unless_that_is_said(config, digits, tmp_path):
    header = tmp_path / "applications/luks/some-uuid/header"
    header.write_bytes(b"as it was before")
    said = lmsctl("purge", "--confirm", digits, config=config)
    assert (said.json["error"], header.exists()) == ("StillProtecting", True)
    looked = lmsctl("purge", config=config).json
    assert "some-uuid" in looked["lost"][0]
    assert lmsctl("purge", "--confirm", digits, "--lose", config=config).json["error"] == "PurgeUnconfirmed"
    assert header.exists()
    assert lmsctl("purge", "--confirm", looked["confirm"], "--lose", config=config).exit_code == 0
    assert not header.exists()


def test_older_packages_go_where_the_newest_one_lies(config, digits, archived):
    older, newest = archived.packages
    assert lmsctl("purge", "--confirm", digits, "--archives", config=config).exit_code == 0
    assert (older.exists(), archived.packages) == (False, [newest])


def test_older_packages_stay_where_the_newest_one_is_missing(config, digits, archived):
    older, newest = archived.packages
    newest.unlink()
    planted = older.with_name("999999999-planted.xml")
    planted.write_bytes(b"not the newest")
    assert lmsctl("purge", "--confirm", digits, "--archives", config=config).exit_code == 0
    assert archived.packages == [older, planted]


def test_the_key_leaves_its_handle_with_the_owner_authorisation_alone(config, digits, archived, tmp_path):
    (tmp_path / "auth").write_bytes(OWNER_AUTH.reveal())
    (tmp_path / "wrong").write_bytes(PASSWORD)
    for given in ((), ("--owner-auth", tmp_path / "wrong")):
        said = lmsctl("purge", "--confirm", digits, "--evict", *given, config=config)
        assert said.json["error"] == "OwnerAuthFailed"
        assert archived.state
    said = lmsctl("purge", "--confirm", digits, "--evict", "--owner-auth", tmp_path / "auth", config=config)
    assert (said.exit_code, fates(said)["recoverable-key"]) == (0, {"gone"})
    assert (archived.key_at(DRSK_HANDLE), archived.key_at(SRK_HANDLE) is not None) == (None, True)


def test_another_key_at_the_handle_stays(config, digits, archived, tmp_path):
    archived.evict()
    foreign = archived.place_foreign_key()
    archived.let_go()
    (tmp_path / "auth").write_bytes(OWNER_AUTH.reveal())
    said = lmsctl("purge", "--confirm", digits, "--evict", "--owner-auth", tmp_path / "auth", config=config)
    assert (said.exit_code, archived.key_at(DRSK_HANDLE)) == (0, foreign)


def test_a_machine_whose_tpm_is_gone_is_purged(config, digits, archived):
    archived.machine.stop()
    assert lmsctl("purge", "--confirm", digits, config=config).exit_code == 0
    assert remains(archived.state_directory) == []


def test_a_key_that_no_package_has_stays_unless_that_is_said(provisioned: Platform):
    provisioned.let_go()
    config = provisioned.write_config()
    looked = lmsctl("purge", config=config).json
    assert "no package" in looked["lost"][0]
    assert lmsctl("purge", "--confirm", looked["confirm"], config=config).json["error"] == "StillProtecting"
    assert provisioned.state


def test_while_the_service_runs_nothing_is_taken(config, digits, archived, tmp_path):
    before = tree(tmp_path)
    with locked(archived.state_directory):
        said = lmsctl("purge", "--confirm", digits, config=config)
    assert (said.json["error"], tree(tmp_path)) == ("Busy", before)
    assert "systemctl stop lms.service" in said.json["hint"]


@pytest.mark.parametrize("other", ["authority", "station"])
def test_the_configuration_of_an_authority_or_a_station_stays_with_it(config, digits, archived, tmp_path, other):
    (tmp_path / other).mkdir()
    (tmp_path / other / "identity").write_bytes(b"")
    with config.open("a") as file:
        file.write(f'[{other}]\nstate_directory = "{tmp_path}/{other}"\n')
    assert fates(lmsctl("purge", config=config))["configuration"] == {"stays"}
    said = lmsctl("purge", "--confirm", digits, config=config)
    assert (said.exit_code, fates(said)[other], fates(said)["configuration"]) == (0, {"stays"}, {"stays"})
    assert (config.exists(), remains(archived.state_directory)) == (True, [])


@pytest.mark.parametrize("room", ["csp", "luks/some-uuid"])
def test_while_somebody_changes_a_consumer_nothing_is_taken(config, digits, archived, tmp_path, room):
    with locked(tmp_path / "applications" / room):
        before = tree(tmp_path)
        said = lmsctl("purge", "--confirm", digits, "--lose", config=config)
        assert (said.json["error"], tree(tmp_path)) == ("Busy", before)
    assert lmsctl("purge", "--confirm", digits, config=config).exit_code == 0
    assert not (tmp_path / "applications" / room).exists()


def test_what_is_not_ours_stays(config, digits, archived):
    """A state directory may be one that somebody configured."""
    for name in ("notes", "items.txt", ".profile"):
        (archived.state_directory / name).write_text(name)
    assert lmsctl("purge", "--confirm", digits, config=config).exit_code == 0
    assert {"notes", "items.txt", ".profile"} < set(tree(archived.state_directory))


def test_platforms_that_were_put_aside_leave_their_newest_package(config, digits, archived):
    archived.store.put_aside()
    before = archived.state_directory / "before"
    (aside,) = before.iterdir()
    assert "state.json" in tree(aside)
    assert lmsctl("purge", "--confirm", digits, config=config).exit_code == 0
    assert set(tree(before)) == {f"{aside.name}/package.xml"}


def test_a_machine_that_knows_nothing_has_nothing_to_lose(platform):
    platform.let_go()
    config = platform.write_config()
    looked = lmsctl("purge", config=config).json
    assert (looked["lost"], [row["what"] for row in looked["remains"]]) == ([], ["configuration"])
    assert json.dumps(looked)
