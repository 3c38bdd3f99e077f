"""A header is whatever somebody wrote: without a passphrase and without the TPM it changes nothing that we do to it."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

import pytest

from lms.apps.luks.changing import Change
from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.header import read_header
from lms.apps.luks.listing import listed
from lms.apps.luks.records import OwnSlot, Plan, Stage, unfinished
from lms.apps.luks.removing import remove
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.apps.luks.volume import Volume
from lms.errors import (
    AnotherVolume,
    BindingUnproven,
    CryptsetupFailed,
    EnrolledOtherwise,
    StateDamaged,
    TokenUseless,
    VolumeNotEnrolled,
    VolumeReencrypting,
)
from lms.model.secret import Secret
from tests.service.test_sealing import extend
from tests.support.volumes import (
    NO_PIN,
    PASSPHRASE,
    PIN,
    Acting,
    add_passphrase,
    blob_of,
    cryptsetup,
    import_token,
    make_volume,
    metadata,
    nobody,
    opens,
    person,
    pin,
    rewrite_token,
)


@pytest.fixture
def bound(acts, volume, tmp_path):
    """The directory of the records of a volume with a PIN and a PCR."""
    enroll(acts, volume, tmp_path, person, Binding((7,), True), PIN)
    return tmp_path


def forget(directory) -> None:
    """Have a volume be as one that an older version enrolled: that wrote the digest of the header alone."""
    (record,) = directory.glob("luks/*/registered")
    record.write_text(json.loads(record.read_text())["header"])


@pytest.mark.parametrize("stripped", [{"tpm2-pin": False}, {"tpm2-pcrs": []}, {"tpm2-pin": False, "tpm2-pcrs": []}])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_header_takes_no_pin_and_no_pcrs_away(acts, volume, bound, stripped, damaged):
    ((_, token),) = metadata(volume)["tokens"].items()
    blob = bytearray(blob_of(token))
    blob[10] ^= damaged
    rewrite_token(volume, **stripped, **{"tpm2-blob": base64.b64encode(blob).decode()})
    before = volume.read_bytes()
    with pytest.raises(BindingUnproven, match="its header names other PCRs or another"):
        reseal(acts, volume, bound, nobody, pin)
    assert volume.read_bytes() == before
    row = reseal(acts, volume, bound, person, pin, Binding((7,), True))
    assert (row["pcrs"], row["pin"]) == ([7], True)
    assert check(acts, volume, bound, pin)["opens"]


def test_a_binding_that_is_said_counts(acts, volume, bound):
    with pytest.raises(EnrolledOtherwise):
        reseal(acts, volume, bound, nobody, pin, Binding())
    rewrite_token(volume, **{"tpm2-pcrs": []})
    row = reseal(acts, volume, bound, person, nobody, Binding())
    assert (row["pcrs"], row["pin"]) == ([], False)
    rewrite_token(volume, **{"tpm2-pcrs": [7]})
    with pytest.raises(BindingUnproven):
        reseal(acts, volume, bound, nobody, nobody)


def test_a_volume_that_an_older_version_enrolled_opens_and_its_binding_is_asked_for(acts, archived, volume, bound):
    forget(bound)
    assert check(acts, volume, bound, pin)["header-kept"]
    assert not reseal(acts, volume, bound, nobody, pin)["changed"]
    extend(archived, 7)
    with pytest.raises(BindingUnproven, match="in its header alone"):
        reseal(acts, volume, bound, nobody, pin)
    assert reseal(acts, volume, bound, person, pin, Binding((7,), True))["changed"]
    extend(archived, 7)
    with pytest.raises(TokenUseless):
        check(acts, volume, bound, pin)
    assert reseal(acts, volume, bound, person, pin)["pcrs"] == [7]


def test_a_header_that_says_too_little_is_told_by_what_the_tpm_says(acts, volume, bound):
    forget(bound)
    rewrite_token(volume, **{"tpm2-pin": False, "tpm2-pcrs": []})
    with pytest.raises(TokenUseless, match="does not say what it was bound to"):
        check(acts, volume, bound, nobody)
    with pytest.raises(BindingUnproven):
        reseal(acts, volume, bound, nobody, nobody)


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"{}", b"digest"])
def test_a_record_that_cannot_be_read_is_told(acts, volume, bound, damaged):
    (record,) = bound.glob("luks/*/registered")
    record.write_bytes(damaged)
    with pytest.raises(StateDamaged, match="registered"):
        check(acts, volume, bound, nobody)


def test_enroll_again_writes_down_what_is_proven(acts, archived, volume, bound):
    forget(bound)
    assert not enroll(acts, volume, bound, nobody, Binding((7,), True), PIN)["changed"]
    extend(archived, 7)
    assert reseal(acts, volume, bound, person, pin)["pcrs"] == [7]


def exchange(volume, other) -> None:
    """What the owner of a directory does while root works on a file in it."""
    volume.rename(volume.with_name("taken"))
    volume.symlink_to(other)


@pytest.mark.parametrize("verb", [enroll, reseal, remove])
def test_a_file_that_is_exchanged_meanwhile_leads_to_no_other_volume(acts, archived, volume, tmp_path, verb):
    victim, apps = make_volume(tmp_path / "victim"), tmp_path / "apps"
    add_passphrase(victim, Secret(b"somebody else's"))
    if verb is not enroll:
        enroll(acts, volume, apps, person, Binding((7,)), NO_PIN)
        extend(archived, 7)
    before = victim.read_bytes()

    def exchanged() -> Secret:
        exchange(volume, victim)
        return PASSPHRASE

    more = {enroll: (Binding((7,)), NO_PIN), reseal: (nobody,), remove: ()}[verb]
    assert verb(acts, volume, apps, exchanged, *more)["changed"]
    assert victim.read_bytes() == before
    assert len(metadata(volume.with_name("taken"))["tokens"]) == (verb is not remove)


def test_what_cryptsetup_says_names_the_volume(tmp_path):
    (tmp_path / "nothing").write_bytes(bytes(17 << 20))
    with Volume.opened(tmp_path / "nothing") as volume, pytest.raises(CryptsetupFailed) as failed:
        volume.kill_slot(1)
    assert "/dev/fd/" not in str(failed.value)
    assert str(failed.value).count(f"{tmp_path}/nothing") == 2


@pytest.fixture
def device(volume):
    """A block device of the volume's file."""
    made = subprocess.run(["losetup", "--find", "--show", volume], check=False, capture_output=True)
    if made.returncode:
        pytest.skip("this machine makes no block device of a file")
    path = made.stdout.decode().strip()
    yield Path(path)
    subprocess.run(["losetup", "--detach", path], check=True)


def test_a_block_device_is_held_as_a_file_is(acts, archived, device, tmp_path):
    enroll(acts, device, tmp_path, person, Binding((7,)), NO_PIN)
    extend(archived, 7)
    assert reseal(acts, device, tmp_path, person, nobody)["changed"]
    assert check(acts, device, tmp_path, nobody)["opens"]
    assert remove(acts, device, tmp_path, person)["changed"]
    with Volume.opened(device) as volume:
        volume.backup(tmp_path / "header")
        volume.restore(tmp_path / "header")
    assert opens(device, PASSPHRASE)


ANOTHER = Secret(b"another person's")


def the_token(volume) -> dict:
    ((_, token),) = metadata(volume)["tokens"].items()
    return token


def test_a_slot_that_a_token_merely_names_is_not_ours(acts, volume, tmp_path):
    add_passphrase(volume, ANOTHER)
    row = enroll(acts, volume, tmp_path, lambda: ANOTHER, Binding(), NO_PIN)
    import_token(volume, the_token(volume) | {"keyslots": ["0"]})
    assert reseal(acts, volume, tmp_path, nobody, nobody)["slot"] == row["slot"]
    assert remove(acts, volume, tmp_path, lambda: ANOTHER)["removed"] == [row["slot"]]
    assert [opens(volume, one) for one in (PASSPHRASE, ANOTHER)] == [True, True]
    assert the_token(volume)["keyslots"] == ["0"]


def test_a_slot_that_was_ours_once_is_a_persons_now(acts, volume, tmp_path):
    row = enroll(acts, volume, tmp_path, person, Binding(), NO_PIN)
    token = the_token(volume)
    cryptsetup("token", "remove", "--token-id", 0, volume)
    cryptsetup("luksKillSlot", "-q", volume, row["slot"])
    add_passphrase(volume, ANOTHER)
    import_token(volume, token)
    assert set(metadata(volume)["keyslots"]) == {"0", str(row["slot"])}
    assert not remove(acts, volume, tmp_path, person)["changed"]
    assert opens(volume, ANOTHER)


def test_a_disk_of_two_machines_opens_on_both(acts, volume, tmp_path, platform, token):
    platform.provision(token)
    other, here, there = Acting(platform), tmp_path / "here", tmp_path / "there"
    first = enroll(acts, volume, here, person, Binding(), NO_PIN)["slot"]
    with pytest.raises(VolumeNotEnrolled):
        reseal(other, volume, there, nobody, nobody)
    second = enroll(other, volume, there, person, Binding(), NO_PIN)["slot"]
    assert check(acts, volume, here, nobody)["slot"] == first
    assert check(other, volume, there, nobody)["slot"] == second
    below = [row.get("below", "") for row in listed(acts, volume)]
    assert below[0] == "the recoverable key"
    assert below[1].startswith("a recoverable key that is not here (0x81000004, ")
    assert remove(other, volume, there, person)["removed"] == [second]
    assert check(acts, volume, here, nobody)["opens"]


def test_a_token_at_our_handle_that_is_garbage_hides_and_hinders_nothing(acts, volume, tmp_path):
    row = enroll(acts, volume, tmp_path, person, Binding(), NO_PIN)
    token = the_token(volume)
    blob = blob_of(token)
    private = 2 + int.from_bytes(blob[:2], "big")
    garbage = blob[:private] + bytes.fromhex("000a0008ffff000000000000")
    import_token(volume, token | {"tpm2-blob": base64.b64encode(garbage).decode()})
    kinds = [(one["slot"], one["kind"]) for one in listed(acts, volume)]
    assert kinds == [(row["slot"], "systemd-tpm2"), (row["slot"], "systemd-tpm2"), (0, "passphrase or key file")]
    assert enroll(acts, volume, tmp_path, nobody, Binding(), NO_PIN)["slot"] == row["slot"]
    assert remove(acts, volume, tmp_path, person)["removed"] == [row["slot"]]


UUID = "11111111-2222-3333-4444-555555555555"


def labels(acts) -> set[str]:
    return {entry.place.label for entry in acts.platform.state.registry.entries}


def test_a_medium_with_the_uuid_of_another_volume_ends_no_records(acts, tmp_path):
    real, stick = (make_volume(tmp_path / name, uuid=UUID) for name in ("real", "stick"))
    enroll(acts, real, tmp_path, person, Binding(), NO_PIN)
    before = stick.read_bytes()
    for verb, more in ((enroll, (nobody, Binding(), NO_PIN)), (check, (nobody,)), (remove, (nobody,))):
        with pytest.raises(AnotherVolume, match=UUID):
            verb(acts, stick, tmp_path, *more)
    assert stick.read_bytes() == before
    assert check(acts, real, tmp_path, nobody)["header-kept"]
    assert labels(acts) == {UUID, f"{UUID}:1"}
    remove(acts, real, tmp_path, person)
    assert enroll(acts, stick, tmp_path, person, Binding(), NO_PIN)["changed"]


def test_a_change_that_was_cut_goes_on_with_its_own_volume(acts, tmp_path):
    real, stick = (make_volume(tmp_path / name, uuid=UUID) for name in ("real", "stick"))
    with Change.of(acts, real, tmp_path) as change:
        change.records.begin(Plan(Stage.ADDING, OwnSlot(1, 4321), fingerprint=change.volume.header().fingerprint))
    with pytest.raises(AnotherVolume):
        check(acts, stick, tmp_path, nobody)
    assert unfinished(tmp_path) == [UUID]
    with pytest.raises(VolumeNotEnrolled):
        check(acts, real, tmp_path, nobody)
    assert unfinished(tmp_path) == []


def test_a_volume_that_an_older_version_enrolled_is_recognised_from_its_next_check_on(acts, tmp_path):
    real, stick = (make_volume(tmp_path / name, uuid=UUID) for name in ("real", "stick"))
    enroll(acts, real, tmp_path, person, Binding(), NO_PIN)
    forget(tmp_path)
    assert check(acts, real, tmp_path, nobody)["header-kept"]
    with pytest.raises(AnotherVolume):
        remove(acts, stick, tmp_path, nobody)


def test_what_the_registry_lost_is_kept_anew(acts, volume, tmp_path):
    row = enroll(acts, volume, tmp_path, person, Binding(), NO_PIN)
    kept = labels(acts)
    assert check(acts, volume, tmp_path, nobody)["header-kept"]
    for label in kept:
        acts("unregister", {"application": "luks", "label": label})
    proven = check(acts, volume, tmp_path, nobody)
    assert (proven["opens"], proven["header-kept"]) == (True, False)
    assert enroll(acts, volume, tmp_path, nobody, Binding(), NO_PIN) == row | {"changed": True}
    assert labels(acts) == kept
    assert check(acts, volume, tmp_path, nobody)["header-kept"]
    assert not enroll(acts, volume, tmp_path, nobody, Binding(), NO_PIN)["changed"]


HOSTILE = "\x1b]0;owned\x07\ud800"
SHOWN = "\\x1b]0;owned\\x07\\ud800"


def test_words_of_a_header_are_told_as_what_people_can_read(acts, volume):
    plain = metadata(volume)
    plain["config"]["requirements"] = {"mandatory": [HOSTILE]}
    with pytest.raises(VolumeReencrypting) as told:
        read_header(json.dumps(plain).encode())
    assert str(told.value).endswith(SHOWN)
    import_token(volume, {"type": HOSTILE[:-1], "keyslots": ["0"]})
    assert [row["kind"] for row in listed(acts, volume)] == [SHOWN.removesuffix("\\ud800")]
