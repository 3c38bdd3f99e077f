"""`lms.early`: what happens to the recoverable key before volumes are opened."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from lms.config import TokenPlace
from lms.early.looking import require_token
from lms.early.media import token_at
from lms.errors import (
    FileProblem,
    HandleOccupied,
    OwnerAuthFailed,
    PlatformUnknown,
    TokenAbsent,
    TpmUnavailable,
    Unanswered,
    WrongPassword,
)
from lms.service.diagnosis import Reason, diagnose
from lms.service.setting import NO_SECRET
from lms.wire.tpm.public import name_of
from tests.support.platform import OWNER_AUTH, PASSWORD, PRECIOUS
from tests.support.proxy import CuttingProxy, WithoutCommand

READ_PUBLIC = 0x173
WRONG = b"not the password"


def refused(said, error) -> bool:
    """Whether it ended with this error, and said what to do."""
    return said.exit_code == error.blame.value and error.hint in said.stderr


def test_a_key_that_is_in_its_place_needs_nothing(booting):
    machine = booting(own=True)
    said = machine.look()
    assert (said.exit_code, said.stdout, said.stderr) == (0, "", "")


def test_the_look_costs_one_command_which_reads_a_public_area(booting):
    machine = booting(own=True)
    line = CuttingProxy(machine.platform.machine.path, lambda: None)
    lacking = WithoutCommand(machine.platform.machine.path, READ_PUBLIC)
    for proxy, exit_code in ((line, 0), (lacking, TpmUnavailable.blame.value)):
        with proxy:
            machine.tcti = proxy.tcti
            assert (machine.look().exit_code, proxy.commands) == (exit_code, 1)


def test_a_machine_that_archived_nothing_has_nothing_to_look_for(booting):
    said = booting(published=False).look()
    assert (said.exit_code, said.stderr) == (0, "")


def test_without_a_token_to_be_seen_it_ends_at_once_and_says_why(booting):
    machine = booting()
    machine.token.unlink()
    assert refused(said := machine.look(PASSWORD), TokenAbsent)
    assert str(machine.token) in said.stderr
    assert machine.agent.asked == []
    assert machine.platform.key_at() is None


def test_the_key_comes_back_from_the_recovery_copy(booting, child):
    machine = booting()
    for other in (machine.platform.state_directory / "package.xml", *machine.platform.packages):
        other.unlink()  # the state's own goes before the copy, and a newer one of an archive
    said = machine.look(PASSWORD)
    assert (said.exit_code, said.stderr) == (0, "lms.early.restoring: the recoverable key is back\n")
    assert machine.platform.unseal(child) == PRECIOUS
    assert diagnose(machine.platform.setting, machine.platform.state) is Reason.INTACT
    ((identity, question),) = machine.agent.asked
    assert (identity, "recovery token" in question) == ("lms:token", True)
    assert (machine.look().exit_code, machine.agent.asked) == (0, [])


def test_it_comes_back_though_a_place_for_packages_is_not_there_yet(booting, child):
    machine = booting()
    shutil.rmtree(machine.platform.archive_directory)
    said = machine.look(PASSWORD)
    assert said.exit_code == 0
    assert "is back, and not all else: cannot archive everywhere" in said.stderr
    assert machine.platform.unseal(child) == PRECIOUS


def test_a_wrong_password_is_asked_for_again(booting, child):
    machine = booting()
    assert machine.look(WRONG, PASSWORD).exit_code == 0
    assert [question.startswith("That was not it") for _, question in machine.agent.asked] == [False, True]
    assert machine.platform.unseal(child) == PRECIOUS


def test_three_wrong_passwords_are_enough(booting):
    machine = booting()
    assert refused(machine.look(WRONG, WRONG, WRONG, PASSWORD), WrongPassword)
    assert len(machine.agent.asked) == 3
    assert machine.platform.key_at() is None


@pytest.mark.parametrize("answer", [b"", None], ids=["empty", "canceled"])
def test_who_gives_no_password_goes_on_without_it(booting, answer):
    machine = booting()
    assert refused(machine.look(answer, PASSWORD), Unanswered)
    assert len(machine.agent.asked) == 1
    assert machine.platform.key_at() is None


def test_a_foreign_key_is_never_replaced_unasked(booting):
    machine = booting()
    platform = machine.platform
    foreign = platform.place_foreign_key()
    assert refused(said := machine.look(PASSWORD), HandleOccupied)
    assert foreign.hex().upper() in said.stderr
    assert machine.agent.asked == []
    assert platform.key_at() == foreign


def test_an_owner_authorisation_that_nobody_kept_is_told_before_anybody_is_asked(booting, tmp_path, child):
    machine = booting()
    tpm = machine.platform.tpm
    tpm.trust_salt(name_of(tpm.endorsement_keys()[0].public))
    tpm.set_owner_auth(NO_SECRET, OWNER_AUTH)
    assert refused(machine.look(PASSWORD), OwnerAuthFailed)
    assert machine.agent.asked == []
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "lms.owner-auth").write_bytes(OWNER_AUTH.reveal())
    assert machine.look(PASSWORD, CREDENTIALS_DIRECTORY=str(tmp_path / "credentials")).exit_code == 0
    assert machine.platform.unseal(child) == PRECIOUS


def test_a_state_that_is_not_there_yet_is_not_made_anew(booting):
    machine = booting()
    shutil.rmtree(machine.platform.state_directory)
    assert refused(machine.look(PASSWORD), PlatformUnknown)
    assert machine.agent.asked == []
    assert not machine.platform.state_directory.exists()


def test_a_tpm_that_does_not_answer_is_not_waited_for(booting):
    machine = booting(own=True)
    machine.platform.let_go()
    machine.platform.machine.freeze()
    assert refused(machine.look(PASSWORD), TpmUnavailable)
    machine.platform.machine.thaw()
    assert machine.look().exit_code == 0
    machine.platform.machine.stop()
    assert refused(machine.look(PASSWORD), TpmUnavailable)
    assert machine.agent.asked == []


@pytest.fixture
def medium(tmp_path, token):
    """A block device with a file system on which a token lies."""
    content = tmp_path / "content" / "keys"
    content.mkdir(parents=True)
    (content / "token.xml").write_bytes(token.document)
    (content / "host.xml").symlink_to("/etc/passwd")
    (content / "link.xml").symlink_to("token.xml")
    (content.parent / "linked").symlink_to("keys")
    image = tmp_path / "medium.img"
    with image.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", content.parent, image], check=True, capture_output=True)
    made = subprocess.run(["losetup", "--find", "--show", "--read-only", image], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("this machine makes no block device of a file")
    device = made.stdout.decode().strip()
    yield Path(device)
    subprocess.run(["losetup", "--detach", device], check=True)


def test_a_token_is_read_from_a_medium_and_nothing_stays_mounted(medium, token):
    mounted = Path("/proc/self/mounts")
    before = mounted.read_text()
    assert token_at(TokenPlace(medium, Path("keys/token.xml"))) == token.document
    assert mounted.read_text() == before
    with pytest.raises(FileProblem, match=r"absent\.xml"):
        token_at(TokenPlace(medium, Path("absent.xml")))
    with pytest.raises(TokenAbsent):
        require_token(TokenPlace(Path("/dev/absent"), Path("token.xml")))


@pytest.mark.parametrize("path", ["keys/host.xml", "keys/link.xml", "linked/token.xml"])
def test_a_link_on_a_medium_leads_nowhere(medium, path):
    with pytest.raises(FileProblem, match="symbolic links"):
        token_at(TokenPlace(medium, Path(path)))
