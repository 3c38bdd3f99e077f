"""`doctor`: what is bound to the TPM of a real machine is found, judged and told, with what repairs it."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
from base64 import b64decode, b64encode
from functools import partial

import pytest

from lms.apps.csp.adding import Wanted, add
from lms.apps.inventory import findings as findings_
from lms.apps.inventory import judging, machine
from lms.apps.inventory.bond import Kind, State
from lms.apps.inventory.examining import Scope, examine
from lms.apps.inventory.losing import Event, losses
from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.errors import Blame, NotRegistered, TokenUseless, TpmUnavailable
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE
from lms.model.packages import DestinationKind, ItemUsage
from lms.model.registered import ROOT, Caller
from lms.model.secret import Secret
from lms.names import OWNER_AUTH as OWNER_AUTH_WORD
from lms.names import PASSWORD
from lms.service.register import Where, register_item
from lms.wire.tpm.key_file import tss2_pem, tss2_private_key
from tests.errors.test_hints import problem
from tests.service.test_sealing import extend
from tests.support.foreign import Foreign, ProgramFailed
from tests.support.platform import OWNER_AUTH, lmsctl
from tests.support.tpm_keys import TpmKeys
from tests.support.volumes import PASSPHRASE, Acting, add_passphrase, cryptsetup, metadata, nobody, rewrite_token

DRSK = f"{DRSK_HANDLE:#x}"
PROTECTED, STALE, LOST, UNKNOWN = (state.value for state in State)


@pytest.fixture
def seen(tmp_path):
    """Examines a machine; rows of the answer by where and what they are, of what the test made."""

    def look(acts, *devices, **scope):
        return examine(
            acts, Scope(DRSK_HANDLE, tmp_path / "apps", paths=(tmp_path / "files",), devices=devices, **scope)
        )

    (tmp_path / "files").mkdir()
    return look


def states(examined) -> dict[tuple[str, str], str]:
    """State by kind and the last part of the place."""
    rows = examined.answer()["bound"]
    return {(row["what"], row["where"].rpartition("/")[2]): row["state"] for row in rows}


def findings(examined) -> set[str]:
    return {row["finding"] for row in examined.findings}


def enrolled(acts, volume, directory, *pcrs: int) -> None:
    enroll(acts, volume, directory / "apps", lambda: PASSPHRASE, Binding(pcrs), Secret(b""))


def the_tpm_alone(volume) -> None:
    """Take the passphrase of a person away, as a careless one does."""
    cryptsetup("luksKillSlot", "-q", volume, 0)


def test_files_below_the_recoverable_key_are_protected_and_others_would_be_lost(archived, made, blob, tmp_path, seen):
    files = tmp_path / "files"
    for path in (made.credential, made.unsealed, made.jwe, made.openssl):
        (files / path.name).write_bytes(path.read_bytes())
    (files / "theirs.sqlite3").write_bytes(made.store.read_bytes())
    (files / "kmk.blob").write_bytes(blob)
    archived.let_go()
    Foreign(archived.machine.tcti, files).tools_key("ours.pem", DRSK)
    Foreign(archived.machine.tcti, files).store("ours", f"--primary-handle={DRSK}")
    examined = seen(Acting(archived))
    assert {key: state for key, state in states(examined).items() if not key[1].startswith("0x")} == {
        ("systemd credential", "sealed.cred"): LOST,
        ("clevis JWE", "secret.jwe"): LOST,
        ("TSS2 key", "key.pem"): LOST,
        ("PKCS#11 store", "theirs.sqlite3"): LOST,
        ("PKCS#11 store", "tpm2_pkcs11.sqlite3"): PROTECTED,
        ("TSS2 key", "ours.pem"): PROTECTED,
        ("trusted key", "kmk.blob"): PROTECTED,
    }
    assert all("act" in row for row in examined.answer()["bound"] if row["state"] == LOST and "files" in row["where"])


def test_a_container_of_ours_is_found_wherever_it_lies_and_once(acts, tmp_path, seen):
    apps = tmp_path / "elsewhere"
    apps.mkdir()
    for path in (apps / "web.pem", tmp_path / "files" / "web.pem"):
        add(acts, path, tmp_path / "apps", Wanted())
    found = [row["where"] for row in seen(acts).answer()["bound"] if row["what"] == "TSS2 key"]
    assert sorted(found) == [str(apps / "web.pem"), str(tmp_path / "files" / "web.pem")]


def test_what_the_tpm_keeps_is_judged(archived, seen):
    archived.place_foreign_key(0x81000100)
    archived.let_go()
    command = ["tpm2_nvdefine", "-T", archived.machine.tcti, "-C", "o", "-s", "8", "-P", OWNER_AUTH.reveal().decode()]
    subprocess.run([*command, "0x01500020"], check=True, capture_output=True)
    examined = seen(Acting(archived))
    found = {key: state for key, state in states(examined).items() if key[1].startswith("0x")}
    (reason,) = {row["reason"] for row in examined.answer()["bound"] if row["where"] in ("0x81000100", "0x01500020")}
    assert reason.endswith("only that can make it anew"), "there is nothing to type"
    assert found == {
        ("recoverable key", f"{DRSK_HANDLE:#010x}"): PROTECTED,
        ("persistent key", f"{SRK_HANDLE:#010x}"): PROTECTED,
        ("persistent key", "0x81000100"): LOST,
        ("NV index", "0x01500020"): LOST,
    }


def test_tokens_of_a_volume_are_judged_by_what_else_opens_it(acts, archived, programs, volume, tmp_path, seen):
    programs.enroll_systemd(volume)
    programs.enroll_clevis(volume)
    rows = [row for row in seen(acts, volume).answer()["bound"] if row["where"] == str(volume)]
    assert [(row["what"], row["state"]) for row in rows] == [("LUKS token", LOST), ("clevis token", LOST)]
    assert all("a passphrase opens the volume still" in row["reason"] for row in rows)
    assert {row["act"] for row in rows} == {f"lmsctl luks enroll {volume}"}
    enrolled(acts, volume, tmp_path)
    archived.archive()
    rows = [row for row in seen(acts, volume).answer()["bound"] if row["where"] == str(volume)]
    assert [row["state"] for row in rows] == [PROTECTED] * 3
    assert sum("another token" in row["reason"] for row in rows) == 2


def test_a_volume_that_only_a_lost_token_opens_would_lose_its_data(acts, programs, volume, seen):
    programs.enroll_systemd(volume)
    the_tpm_alone(volume)
    examined = seen(acts, volume)
    (row,) = [row for row in examined.answer()["bound"] if row["where"] == str(volume)]
    assert row["state"] == LOST
    assert "its data would be lost" in row["reason"]
    assert row["act"].startswith("systemd-cryptenroll --unlock-tpm2-device=auto --recovery-key ")
    assert "only-tpm-opens" in findings(examined)


def test_a_token_whose_key_is_gone_is_told_from_one_of_another_machine(acts, volume, platform, token, tmp_path, seen):
    enrolled(acts, volume, tmp_path)
    platform.provision(token)
    anew = partial(seen, Acting(platform), volume)
    (row,) = [row for row in anew().answer()["bound"] if row["where"] == str(volume)]
    assert (row["state"], row["act"]) == (LOST, f"lmsctl luks reseal {volume}")
    assert "has no more" in row["reason"]
    shutil.rmtree(tmp_path / "apps")
    (row,) = [row for row in anew().answer()["bound"] if row["where"] == str(volume)]
    assert (row["state"], row["act"]) == (LOST, f"lmsctl luks enroll {volume}")
    assert "of another machine" in row["reason"]
    enrolled(Acting(platform), volume, tmp_path)


def test_what_changed_since_the_newest_package_is_stale(acts, archived, volume, tmp_path, seen):
    enrolled(acts, volume, tmp_path)
    assert states(seen(acts, volume))["LUKS token", "volume"] == STALE
    rows = losses(Event.CLEAR, seen(acts, volume))["loses"]
    keys = [f"'{entry.place.label}' of 'luks'" for entry in archived.state.registry.entries]
    assert sorted(row["where"] for row in rows) == sorted(keys)
    assert {(row["what"], row["act"]) for row in rows} == {("registered entry", "lmsctl archive")}
    archived.store.save_package(b"not the newest one")
    (row,) = losses(Event.CLEAR, seen(acts, volume))["loses"]
    assert (row["what"], row["act"]) == ("recoverable key", "lmsctl archive"), "nobody can say what is lacking"
    archived.archive()
    assert states(seen(acts, volume))["LUKS token", "volume"] == PROTECTED
    assert losses(Event.CLEAR, seen(acts, volume))["loses"] == []


def test_a_header_that_packages_carry_as_it_was_is_stale(acts, archived, volume, tmp_path, seen):
    enrolled(acts, volume, tmp_path)
    archived.archive()
    add_passphrase(volume, Secret(b"another person's"))
    examined = seen(acts, volume)
    (row,) = [row for row in examined.answer()["bound"] if row["where"] == str(volume)]
    assert (row["state"], row["act"]) == (STALE, f"lmsctl luks enroll {volume}")
    assert losses(Event.CLEAR, examined)["loses"] == []  # the key comes back, and the header is on the disk
    enrolled(acts, volume, tmp_path)
    archived.archive()
    assert states(seen(acts, volume))["LUKS token", "volume"] == PROTECTED


def test_the_master_key_of_evm_is_made_anew_by_its_own_verb(provisioned, seen, child, tmp_path):
    files = tmp_path / "files"
    for name in ("kmk.blob", "kmk-trusted.blob"):
        below_owner = tss2_private_key(child.public, child.private, 0x40000001, sealed=True)
        (files / name).write_bytes(below_owner.hex().encode())
    acts = {row["where"]: row["act"] for row in seen(Acting(provisioned)).answer()["bound"] if "act" in row}
    assert acts[str(files / "kmk.blob")].startswith("keyctl add trusted ")
    assert acts[str(files / "kmk-trusted.blob")] == f"lmsctl evm create --replace --directory {files}"
    at_home = judging.repair(Kind.TRUSTED_KEY, "/etc/keys/kmk-trusted.blob", machine.Machine(DRSK_HANDLE, {}))
    assert at_home == "lmsctl evm create --replace"


def test_a_token_that_lost_its_slot_saves_nothing(acts, archived, programs, volume, tmp_path, seen):
    programs.enroll_systemd(volume)
    enrolled(acts, volume, tmp_path)
    archived.archive()
    cryptsetup("luksKillSlot", "-q", volume, 2)
    (row,) = [row for row in seen(acts, volume).answer()["bound"] if row["where"] == str(volume)]
    assert row["state"] == LOST


def test_a_volume_that_cannot_be_read_may_be_lost(acts, volume, seen):
    with volume.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(1 << 20))
    file_of_both = seen(acts, volume)
    (row,) = [row for row in file_of_both.answer()["bound"] if row["where"] == str(volume)]
    assert (row["state"], row["what"]) == (UNKNOWN, "LUKS token")
    assert str(volume) in {row["where"] for row in losses(Event.CLEAR, file_of_both)["loses"]}


def test_below_another_recoverable_key_it_is_gone(acts, archived, volume, tmp_path, seen, platform, token):
    enrolled(acts, volume, tmp_path)
    platform.provision(token)
    examined = seen(Acting(platform), volume)
    (row,) = [row for row in examined.answer()["bound"] if row["where"] == str(volume)]
    assert (row["state"], row["act"]) == (LOST, f"lmsctl luks reseal {volume}")


def test_a_key_that_nothing_keeps_protects_nothing(provisioned, seen, blob, tmp_path):
    (tmp_path / "files" / "kmk.blob").write_bytes(blob)
    examined = seen(Acting(provisioned))
    assert states(examined)["trusted key", "kmk.blob"] == LOST
    assert states(examined)["recoverable key", f"{DRSK_HANDLE:#010x}"] == LOST


def test_a_machine_that_lost_its_key_has_it_in_a_package(archived, seen, blob, tmp_path):
    (tmp_path / "files" / "kmk.blob").write_bytes(blob)
    archived.clear()
    examined = seen(Acting(archived))
    (row,) = [row for row in examined.answer()["bound"] if row["what"] == "trusted key"]
    assert (row["state"], row["act"]) == (STALE, "lmsctl restore --token FILE"), "nobody else has it"
    assert "owner-auth-unset" in findings(examined)


def test_a_key_that_left_its_handle_alone_needs_no_token(archived, seen, blob, tmp_path):
    (tmp_path / "files" / "kmk.blob").write_bytes(blob)
    archived.evict()
    examined = seen(Acting(archived))
    (row,) = [row for row in examined.answer()["bound"] if row["what"] == "trusted key"]
    assert (row["state"], row["act"]) == (STALE, "lmsctl restore")


TOKEN_ALONE = {"kind": DestinationKind.RECOVERY_TOKEN.value, "id": "token"}
AUTHORITY_ALONE = {"kind": DestinationKind.MIGRATION_AUTHORITY.value, "id": "some", "held": 1}


@pytest.mark.parametrize(
    ("first", "approved", "act"),
    [
        (TOKEN_ALONE, False, "lmsctl enroll msa --via ADDRESS"),
        (TOKEN_ALONE, True, "lmsctl enroll ma"),
        (AUTHORITY_ALONE, True, "lmsctl enroll ma --id UUID"),
    ],
)
def test_what_enrolls_a_second_destination_works_here(first, approved, act):
    status = {"destinations": [first], "approved": approved, "sequence": 1}
    assert [one["act"] for one in findings_.told(machine.Machine(DRSK_HANDLE, status))] == [act]
    assert problem(act.split(), "lmsctl") is None


def test_findings_say_what_to_see_to(acts, archived, seen):
    assert findings(seen(acts)) >= {"one-destination", "lockout-auth-unset"}
    assert not findings(seen(acts)) & {"proof-old", "locked-out", "owner-auth-unset"}
    archived.now = archived.now.replace(year=archived.now.year + 1)
    assert "proof-old" in findings(seen(acts))


def test_another_board_takes_what_its_pcrs_alone_open(acts, archived, volume, tmp_path, seen):
    extend(archived, 7)
    enrolled(acts, volume, tmp_path, 7)
    archived.archive()
    answer = losses(Event.BOARD_SWAP, seen(acts, volume))
    assert answer["loses"] == []
    assert f"lmsctl luks reseal {volume}" in {row["act"] for row in answer["afterwards"]}
    assert "lmsctl restore --token FILE" in {row["act"] for row in answer["afterwards"]}
    the_tpm_alone(volume)
    (row,) = losses(Event.BOARD_SWAP, seen(acts, volume))["loses"]
    assert "its data would be lost" in row["reason"]
    assert losses(Event.CLEAR, seen(acts, volume))["loses"] == []


PIN = Secret(b"a PIN")


def of_volume(examined, volume) -> tuple[str, str, str]:
    """State, reason and act of its only token."""
    (row,) = [row for row in examined.answer()["bound"] if row["where"] == str(volume)]
    return row["state"], row["reason"], row.get("act", "")


def test_what_no_package_has_outlives_a_clear_in_the_state_alone(acts, archived, seen, token, machines):
    """What `--before clear` names comes back with this disk, and does not without it."""
    entry = {"application": "mail", "label": "account"}
    for user in (ROOT, Caller(1000, "anna")):
        register_item(archived.setting, user, Where(*entry.values()), ItemUsage.PASSWORD, PIN, PIN)
    rows = losses(Event.CLEAR, seen(acts))["loses"]
    assert [row["where"] for row in rows] == [
        "'user key' of 'localmigration', 1000:anna",
        "'account' of 'mail'",
        "'account' of 'mail', 1000:anna",
    ]
    assert all("in the state on this disk alone" in row["reason"] for row in rows)
    package = archived.packages[-1].read_bytes()
    archived.clear()
    archived.set_owner_auth()
    archived.restore(token, package)
    authorised = {OWNER_AUTH_WORD: OWNER_AUTH.reveal()}
    assert acts("retrieve", entry, authorised, (PASSWORD,))[1] == {PASSWORD: PIN.reveal()}
    without = machines()
    without.restore(token, package, confirmed_key=archived.state.require_drsk().name.digits)
    with pytest.raises(NotRegistered):
        Acting(without)("retrieve", entry, authorised, (PASSWORD,))


@pytest.mark.parametrize("binding", [Binding((7,)), Binding((4, 7), True)], ids=str)
def test_a_volume_whose_pcrs_are_others_on_the_next_board_is_stale(
    acts, archived, volume, tmp_path, seen, machines, token, binding
):
    extend(archived, 7)
    enroll(acts, volume, tmp_path / "apps", lambda: PASSPHRASE, binding, PIN)
    archived.archive()
    assert of_volume(seen(acts, volume), volume)[0] == PROTECTED
    new = machines(disk_of=archived.directory)
    assert of_volume(seen(Acting(new), volume), volume)[2] == "lmsctl restore --token FILE", "first things first"
    new.restore(token, archived.packages[-1].read_bytes())
    state, reason, act = of_volume(seen(Acting(new), volume), volume)
    assert (state, act) == (STALE, f"lmsctl luks reseal {volume}")
    with pytest.raises(TokenUseless) as refused:
        check(Acting(new), volume, tmp_path / "apps", nobody)
    assert str(refused.value).endswith(f": {reason}"), "in the words of `luks check`"
    reseal(Acting(new), volume, tmp_path / "apps", lambda: PASSPHRASE, lambda: PIN)
    new.archive()
    assert of_volume(seen(Acting(new), volume), volume)[0] == PROTECTED


def test_pcrs_that_changed_are_told_without_a_pin_and_before_it_is_archived(acts, archived, volume, tmp_path, seen):
    enroll(acts, volume, tmp_path / "apps", lambda: PASSPHRASE, Binding((7,), True), PIN)
    extend(archived, 7)
    acts.verbs.clear()
    assert of_volume(seen(acts, volume), volume)[::2] == (STALE, f"lmsctl luks reseal {volume}")
    assert not {"unseal", "retrieve"} & set(acts.verbs)
    shutil.rmtree(tmp_path / "apps")
    assert of_volume(seen(acts, volume), volume)[::2] == (STALE, f"lmsctl luks enroll {volume}")


def test_a_policy_that_systemd_would_refuse_is_told_as_luks_check_tells_it(acts, archived, volume, tmp_path, seen):
    enrolled(acts, volume, tmp_path)
    archived.archive()
    rewrite_token(volume, **{"tpm2-policy-hash": "ab" * 32})
    state, reason, _ = of_volume(seen(acts, volume), volume)
    with pytest.raises(TokenUseless, match="its header does not say what it was bound to") as refused:
        check(acts, volume, tmp_path / "apps", lambda: PIN)
    assert (state, str(refused.value).rpartition(": ")[2]) == (STALE, reason)


def test_a_volume_that_only_pcrs_of_before_open_is_lost(acts, archived, volume, tmp_path, seen):
    enrolled(acts, volume, tmp_path, 7)
    the_tpm_alone(volume)
    extend(archived, 7)
    archived.archive()
    state, reason, act = of_volume(seen(acts, volume), volume)
    assert (state, act) == (LOST, "")
    assert reason.startswith("PCR 7 ")
    assert reason.endswith("its data would be lost")


def test_pcrs_that_nobody_can_read_protect_nothing(acts, archived, volume, tmp_path, seen):
    enrolled(acts, volume, tmp_path, 7)
    archived.archive()

    def blind(verb, options, *others):
        if verb == "pcrs":
            raise TpmUnavailable("cannot read the PCRs: the TPM does not answer")
        return acts(verb, options, *others)

    state, reason, _ = of_volume(seen(blind, volume), volume)
    assert state == UNKNOWN
    assert reason.endswith("cannot read the PCRs: the TPM does not answer")
    rewrite_token(volume, **{"tpm2-pcr-bank": "sha1"})
    assert of_volume(seen(acts, volume), volume)[0] == UNKNOWN


def test_a_token_that_systemd_made_without_the_tpm_is_compared_as_well(acts, archived, volume, tmp_path, seen):
    enrolled(acts, volume, tmp_path, 7)
    archived.archive()
    imported = b64decode(metadata(volume)["tokens"]["0"]["tpm2-blob"]) + b"\0\4seed"
    rewrite_token(volume, **{"tpm2-blob": b64encode(imported).decode()})
    assert of_volume(seen(acts, volume), volume)[0] != UNKNOWN
    extend(archived, 7)
    state, reason, _ = of_volume(seen(acts, volume), volume)
    assert (state, reason[:6]) == (STALE, "PCR 7 ")


def test_what_survives_a_clear_is_what_is_told(archived, seen, tmp_path):
    """Keys below each hierarchy, in files, and tried at the TPM before and after; and what the TPM keeps itself."""
    files = tmp_path / "files"
    archived.place_foreign_key(0x81000100)
    foreign = Foreign(archived.machine.tcti, files)
    archived.let_go()
    own = {"o": ("-P", OWNER_AUTH.reveal().decode())}

    def below(hierarchy: str, act: str, *words: str, auth: tuple[str, ...] = ()) -> None:
        primary = ("tpm2_createprimary", "-C", hierarchy, *auth, "-c", "primary")
        areas = ("-C", "primary", "-u", f"{hierarchy}.pub", "-r", f"{hierarchy}.prv")
        foreign.run("sh", "-ec", f"{shlex.join(primary)} && {shlex.join((act, *areas, *words))}")

    for hierarchy, handle in (("p", 0x4000000C), ("e", 0x4000000B), ("o", 0x40000001)):
        below(hierarchy, "tpm2_create", auth=own.get(hierarchy, ()))
        below(hierarchy, "tpm2_load", "-c", "loaded", auth=own.get(hierarchy, ()))
        areas = ((files / f"{hierarchy}.{part}").read_bytes() for part in ("pub", "prv"))
        (files / f"{hierarchy}.pem").write_bytes(tss2_pem(tss2_private_key(*areas, handle)))
    foreign.run("tpm2_nvdefine", "-C", "o", *own["o"], "-s", "8", "0x01500020")
    foreign.run("tpm2_nvdefine", "-C", "p", "-s", "8", "-a", "ppread|ppwrite|platformcreate", "0x01400020")
    foreign.run("sh", "-ec", "tpm2_createprimary -C p -c primary && tpm2_evictcontrol -C p -c primary 0x81800020")
    examined = seen(Acting(archived))
    before = {f"{handle:#010x}" for handle in archived.tpm.kept()}
    lost = [{row["where"].rpartition("/")[2] for row in losses(event, examined)["loses"]} for event in Event]
    owners = {"0x81000100", "0x01500020"}
    assert lost == [{"p.pem", "e.pem", "o.pem", *owners}, {"e.pem", "o.pem", *owners}]
    archived.clear()
    gone = before - {f"{handle:#010x}" for handle in archived.tpm.kept()}
    assert gone == owners | {f"{DRSK_HANDLE:#010x}", f"{SRK_HANDLE:#010x}"}, "those of ours come back"
    archived.let_go()
    below("p", "tpm2_load", "-c", "loaded")
    for hierarchy in "eo":
        with pytest.raises(ProgramFailed, match="integrity check failed"):
            below(hierarchy, "tpm2_load", "-c", "loaded")


def test_nobody_to_ask_is_told_and_the_rest_goes_on(made, blob, tmp_path, seen):
    files = tmp_path / "files"
    (files / "kmk.blob").write_bytes(blob)
    (files / "sealed.cred").write_bytes(made.credential.read_bytes())
    (files / "damaged.pem").write_bytes(made.openssl.read_bytes()[:-9])

    def acts(verb, options, inputs=None, collected=()):
        raise TpmUnavailable("cannot use the TPM: there is none")

    examined = seen(acts, tmp_path / "nothing")
    assert states(examined)["trusted key", "kmk.blob"] == UNKNOWN
    (row,) = [row for row in examined.answer()["bound"] if row["what"] == "trusted key"]
    assert row["reason"].endswith(": cannot use the TPM: there is none")
    assert states(examined)["systemd credential", "sealed.cred"] == LOST
    assert "cannot use the TPM: there is none" in examined.unseen
    assert any("damaged.pem" in words for words in examined.unseen)
    assert any("nothing" in words for words in examined.unseen)
    lost = [row["what"] for row in losses(Event.CLEAR, examined)["loses"]]
    assert sorted(lost) == ["persistent key", "recoverable key", "systemd credential", "trusted key"]


def test_what_is_no_file_of_that_kind_is_left_alone(acts, tmp_path, seen, made):
    locked = tmp_path / "files" / "locked.cred"
    locked.write_bytes(made.credential.read_bytes())
    acted = partial(seen, acts)
    before = acted().unseen
    (tmp_path / "files" / "fifo").mkdir()
    subprocess.run(["mkfifo", tmp_path / "files" / "fifo" / "waits"], check=True)
    subprocess.run(["truncate", "-s", "1G", tmp_path / "files" / "huge"], check=True)
    (tmp_path / "files" / "link.cred").symlink_to(made.credential)
    assert acted().unseen == before
    assert [key for key in states(acted()) if key[0] == "systemd credential"] == [("systemd credential", "locked.cred")]


def test_names_of_files_are_told_as_what_people_can_read(acts, tmp_path, seen, made):
    hostile = tmp_path / "files" / "\x1b[2J\n\udcff"
    hostile.mkdir()
    (hostile / "secret.jwe").write_bytes(made.jwe.read_bytes())
    (row,) = [row for row in seen(acts).answer()["bound"] if row["what"] == "clevis JWE"]
    assert row["where"] == f"{tmp_path}/files/\\x1b[2J\\n\\xff/secret.jwe"
    assert "\x1b" not in row["act"]


def test_files_are_found_however_deep_they_lie(acts, tmp_path, seen, made):
    deep = "d/" * (sys.getrecursionlimit() + 100)
    subprocess.run(["mkdir", "-p", deep], check=True, cwd=tmp_path / "files")
    try:
        subprocess.run(["cp", made.jwe, f"{deep}/secret.jwe"], check=True, cwd=tmp_path / "files")
        found = ("clevis JWE", "secret.jwe") in states(seen(acts))
    finally:  # what pytest tidies up with goes as deep as Python does
        subprocess.run(["rm", "-r", "files"], check=True, cwd=tmp_path)
    assert found


def test_a_tpm_that_is_locked_out_is_told(acts, archived, tmp_path, seen):
    archived.let_go()
    TpmKeys(archived.machine.tcti, tmp_path / "guessing").lock_out()
    (row,) = [row for row in seen(acts).findings if row["finding"] in ("locked-out", "tries-used")]
    assert row["finding"] == "locked-out"
    assert row["meaning"].startswith("the TPM refuses authorisations: 1 of 1 tries are used up, ")
    assert row["meaning"].endswith("; one comes back every 2 hours")


def test_tries_that_are_used_up_are_told_before_none_is_left(archived, bus, daemons, tmp_path):
    archived.let_go()
    others = TpmKeys(archived.machine.tcti, tmp_path / "guessing")
    others.run("dictionarylockout", "-c")
    config = archived.write_config()
    assert not {"tries", "locked-out"} & lmsctl("status", config=config).json.keys()
    others.lock_out(tries=5)
    daemons(archived)
    status = lmsctl("status", config=config).json
    assert [status[word] for word in ("tries-left", "tries", "try-recovery-s")] == [4, 5, 7200]
    assert "locked-out" not in {*status, *status["findings"]}
    (row,) = [row for row in lmsctl("doctor", config=config).json["findings"] if row["finding"] == "tries-used"]
    assert row["meaning"].startswith("1 of 5 tries are used up, ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "none comes back by itself"),
        (1, "one comes back every second"),
        (119, "one comes back every 119 seconds"),
        (1000, "one comes back every 17 minutes"),
        (3600, "one comes back every hour"),
        (86400, "one comes back every day"),
        (172800, "one comes back every 2 days"),
    ],
)
def test_when_a_try_comes_back_is_told_as_people_say_it(seconds, words):
    """Of a machine that has no key yet, too."""
    status = {"locked-out": "wait", "tries": 32, "tries-left": 0, "try-recovery-s": seconds}
    (row,) = findings_.told(machine.Machine(DRSK_HANDLE, status))
    assert (row["finding"], row["meaning"].rpartition("; ")[2]) == ("locked-out", words)


@pytest.mark.parametrize("kind", ["file", "device"])
def test_a_token_beside_a_copy_is_told(config, archived, tmp_path, kind):
    token, elsewhere = tmp_path / "token", tmp_path / "elsewhere"
    if kind == "file":
        token.touch()
        elsewhere.symlink_to("/proc/self/status")
    else:
        os.mknod(token, 0o600 | stat.S_IFBLK, tmp_path.stat().st_dev)
        os.mknod(elsewhere, 0o600 | stat.S_IFBLK, os.makedev(240, 1))
    found = {}
    for place in (token, elsewhere, tmp_path / "absent"):
        said = lmsctl("doctor", config=archived.write_config(recovery_token=f'"{place}"')).json
        found[place.name] = [row["meaning"] for row in said["findings"] if row["finding"] == "token-not-apart"]
    assert [found["elsewhere"], found["absent"]] == [[], []]
    (meaning,) = found["token"]
    assert meaning.startswith(f"the token and the copies in {archived.archive_directory} lie on one file system")


def test_an_authority_that_has_not_the_newest_package_is_told():
    destinations = [{"kind": "MigrationAuthority", "id": name, "held": held} for name, held in (("a", 7), ("b", 6))]
    status = {"destinations": destinations, "sequence": 7, "age-days": 90}
    (row,) = findings_.told(machine.Machine(DRSK_HANDLE, status))
    assert (row["finding"], row["meaning"]) == ("proof-old", "authority b was seen to hold package 6, the newest is 7")


@pytest.fixture
def config(archived):
    """The configuration of a machine whose TPM other processes use."""
    archived.let_go()
    return archived.write_config()


def test_lmsctl_says_it_in_both_forms(config, made):
    said = lmsctl("doctor", "--path", made.jwe, config=config)
    assert said.exit_code == 0, said.stderr
    assert [row["state"] for row in said.json["bound"] if row["where"] == str(made.jwe)] == [LOST]
    shown = lmsctl("doctor", "--path", made.jwe, "--no-daemon", config=config, as_json=False)
    assert "would be lost" in shown.stdout
    assert "one-destination" in shown.stdout


def test_beside_a_daemon_that_runs_an_act_without_it_says_why_it_knows_nothing(
    archived, bus, daemons, volume, tmp_path
):
    enrolled(Acting(archived), volume, tmp_path)
    archived.archive()
    daemons(archived)
    config = archived.directory / "lms.toml"
    for order, state in ((("doctor",), PROTECTED), (("--no-daemon", "doctor"), UNKNOWN)):
        said = lmsctl(*order, "--device", volume, config=config)
        (row,) = [row for row in said.json["bound"] if row["where"] == str(volume)]
        assert row["state"] == state
    assert "another instance works on it" in row["reason"]


def test_a_daemon_names_what_no_package_has(archived, bus, daemons):
    register_item(archived.setting, ROOT, Where("mail", "account"), ItemUsage.PASSWORD, PIN, PIN)
    daemons(archived)
    config = archived.directory / "lms.toml"
    said = lmsctl("doctor", "--before", "clear", config=config)
    assert (said.exit_code, [row["where"] for row in said.json["loses"]]) == (7, ["'account' of 'mail'"])
    (lacking,) = lmsctl("packages", config=config).json["lacks"]
    assert (lacking["application"], lacking["label"]) == ("mail", "account")


def test_lmsctl_before_an_event_ends_otherwise_where_something_would_be_lost(config, made, volume):
    assert lmsctl("doctor", "--before", "clear", "--device", volume, config=config).exit_code == 0
    said = lmsctl("doctor", "--before", "board-swap", "--path", made.store, config=config)
    assert said.exit_code == Blame.STATE.value
    assert [row["where"] for row in said.json["loses"]] == [str(made.store)]
    assert "lmsctl: hint:" in said.stderr
    assert lmsctl("doctor", "--before", "lunch", config=config).exit_code == Blame.CALLER.value


def test_lmsctl_before_an_event_vouches_for_nothing_that_it_did_not_see(config, tmp_path):
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN TSS2 PRIVATE KEY-----\n")
    said = lmsctl("doctor", "--before", "clear", "--path", damaged, config=config)
    assert said.exit_code == Blame.STATE.value
    assert said.json["loses"] == []
    assert any("damaged.pem" in words for words in said.json["unseen"])


def test_lmsctl_goes_on_without_a_tpm(archived, made, tmp_path):
    archived.let_go()
    config = archived.write_config(tcti=f"swtpm:path={tmp_path}/none")
    said = lmsctl("doctor", "--path", made.jwe, config=config)
    assert said.exit_code == 0
    assert said.json["bound"]
    assert any("TPM" in words for words in said.json["unseen"])


def test_a_volume_in_what_repairs_is_one_word():
    (row,) = findings_.of_volumes(["/srv/a; reboot"], ())
    assert shlex.split(row["act"]) == ["cryptsetup", "luksAddKey", "/srv/a; reboot"]


def test_what_repairs_can_be_typed():
    acts = (
        *judging._REPAIRS.values(),
        *(of.act for of in machine._OF.values()),
        *(a for _, a in findings_._TOLD.values()),
    )
    ours = [words.split() for act in acts for words in act.split(" | ") if words.startswith("lmsctl ")]
    assert len(ours) > 10
    assert [problem(words, "lmsctl") for words in ours] == [None] * len(ours)
