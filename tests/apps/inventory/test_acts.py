"""What `doctor` tells to type is typed: others' programs do it at a software TPM, which has to be named to them."""

from __future__ import annotations

import shlex

import pytest

from lms.apps.inventory.bond import State
from lms.apps.inventory.examining import Scope, examine
from lms.model.keys import DRSK_HANDLE
from lms.names import DATA
from lms.names import OWNER_AUTH as OWNER
from lms.service.setting import NO_SECRET
from tests.support.platform import OWNER_AUTH, lmsctl
from tests.support.trixie import TCTI, VOLUME, make_root, typed
from tests.support.volumes import PASSPHRASE, Acting, cryptsetup

AUTHORISED = {OWNER: OWNER_AUTH.reveal()}
PROTECTED, LOST = State.PROTECTED.value, State.LOST.value


def rows(acts, path) -> list[dict[str, str]]:
    """What is found there."""
    device = (path,) if path.name == "volume" else ()
    examined = examine(acts, Scope(DRSK_HANDLE, path.parent / "apps", paths=(path,), devices=device))
    return [row for row in examined.answer()["bound"] if row["where"] == str(path)]


def test_a_credential_is_kept_under_the_name_that_its_unit_gives_it(acts, programs, stranger_tpm, tmp_path):
    bound, kept, plain = tmp_path / "of-unit.cred", tmp_path / "kept.cred", tmp_path / "plain"
    plain.write_bytes(b"a secret")
    tpm = f"--tpm2-device={stranger_tpm.tcti}"
    programs.run("systemd-creds", "encrypt", "--with-key=tpm2", "--name=mail", tpm, "--tpm2-pcrs=7", plain, bound)
    (row,) = rows(acts, bound)
    typed = row["act"].replace("NAME", "mail").replace("NEWFILE", shlex.quote(str(kept)))
    typed = typed.replace("systemd-creds decrypt", f"systemd-creds decrypt {tpm}")
    host = f"export SYSTEMD_CREDENTIAL_SECRET={tmp_path}/host.secret"
    programs.run("sh", "-ec", f"{host}; {typed}")
    assert rows(acts, kept) == []
    without_tpm = ("sh", "-ec", f"{host}; systemd-creds decrypt --name=mail {kept} -")
    assert programs.run(*without_tpm) == b"a secret"


def test_what_clevis_encrypted_is_kept_and_handed_out(archived, programs, tmp_path):
    bound = programs.jwe(tmp_path / "secret.jwe")
    (row,) = rows(Acting(archived), bound)
    theirs, ours = row["act"].replace("NAME", "mail").split(" | ")
    archived.let_go()
    config = archived.write_config()
    said = lmsctl(*shlex.split(ours)[1:], config=config, stdin=programs.run("sh", "-ec", theirs))
    assert said.exit_code == 0, said.stderr
    handed_out = Acting(archived)("retrieve", {"application": "clevis", "label": "mail"}, AUTHORISED, (DATA,))[1]
    assert handed_out == {DATA: b"a secret"}


@pytest.mark.slow
def test_a_volume_that_only_a_lost_token_opens_gets_a_recovery_key_and_ours(platform, token, volume, tmp_path):
    def done(words: str) -> str:
        ran = typed(platform, volume, words, PASSWORD=PASSPHRASE.reveal().decode())
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    make_root()
    platform.provision(token, NO_SECRET)
    platform.enroll(NO_SECRET)
    platform.archive()
    done(f"systemd-cryptenroll --tpm2-device={TCTI} --tpm2-pcrs=7 {VOLUME}")
    cryptsetup("luksKillSlot", "-q", volume, 0)
    (row,) = rows(Acting(platform), volume)
    assert row["state"] == LOST
    theirs, ours = row["act"].split(" && ")
    recovery_key = tmp_path / "recovery-key"
    recovery_key.write_text(done(theirs.replace("=auto", f"={TCTI}").replace(str(volume), VOLUME)).strip())
    platform.let_go()
    config = platform.write_config(applications_directory=f'"{tmp_path}/apps"')
    said = lmsctl(*shlex.split(ours)[1:], "--passphrase", recovery_key, config=config)
    assert said.exit_code == 0, said.stderr
    assert lmsctl("archive", config=config).exit_code == 0
    assert [row["state"] for row in rows(Acting(platform), volume)] == [PROTECTED, PROTECTED]
