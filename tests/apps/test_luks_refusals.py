"""What cannot be enrolled is told, each with its own error, and a volume that we do not finish is as it was."""

from __future__ import annotations

import json
import shutil

import pytest

from lms import errors
from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.header import read_header
from lms.apps.luks.listing import listed
from lms.apps.luks.records import OwnSlot, Plan, Records, Stage
from lms.apps.luks.removing import remove
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.errors import (
    BadRequest,
    Busy,
    CryptsetupFailed,
    FileProblem,
    HeaderDamaged,
    KeyNotFound,
    LmsError,
    NotLuks2,
    OnlyTpmOpens,
    PassphraseRefused,
    VolumeReencrypting,
)
from lms.model.secret import Secret
from tests.support.volumes import (
    NO_PIN,
    PASSPHRASE,
    add_passphrase,
    cryptsetup,
    import_token,
    make_volume,
    metadata,
    opens,
    person,
    rewrite_token,
)


def enrolled(acts, volume, directory, passphrase=PASSPHRASE):
    return enroll(acts, volume, directory, lambda: passphrase, Binding(), NO_PIN)


def entries(acts) -> tuple:
    return acts.platform.state.registry.entries


def _absent(path):
    path.unlink()


def _luks1(path):
    make_volume(path, "luks1")


def _nothing(path):
    path.write_bytes(bytes(17 << 20))


def _short(path):
    path.write_bytes(b"LUKS")


def _damaged(path):
    with path.open("r+b") as file:
        for at in (0x1000, 0x5000):
            file.seek(at)
            file.write(b"damaged!" * 64)


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (_absent, FileProblem, "no such file"),
        (_luks1, NotLuks2, "LUKS1"),
        (_nothing, NotLuks2, "no LUKS2 header"),
        (_short, NotLuks2, "no LUKS2 header"),
        (_damaged, HeaderDamaged, "both copies"),
    ],
)
def test_what_is_no_luks2_volume_is_told_and_left_alone(acts, volume, tmp_path, spoil, error, said):
    spoil(volume)
    before = volume.read_bytes() if volume.exists() else None
    for verb in (lambda: enrolled(acts, volume, tmp_path), lambda: listed(acts, volume)):
        with pytest.raises(error, match=said):
            verb()
    assert (volume.read_bytes() if volume.exists() else None) == before
    assert not (tmp_path / "luks").exists()


def test_a_volume_that_is_being_reencrypted_is_left_alone(volume):
    plain = metadata(volume)
    plain["config"]["requirements"] = {"mandatory": ["online-reencrypt-v2"]}
    with pytest.raises(VolumeReencrypting, match="online-reencrypt-v2"):
        read_header(json.dumps(plain).encode())


@pytest.mark.parametrize(
    "spoil",
    [
        b"", b"[]", b"{}", b"null", b"[" * 100_000,
        b'{"config":{"json_size":Infinity},"keyslots":{},"tokens":{},"digests":{}}',
        b'{"config":{"json_size":"x"},"keyslots":{},"tokens":{}}',
        b'{"config":{"json_size":"12288"},"keyslots":{"0":{}},"tokens":{}}',
        b'{"config":{"json_size":"12288"},"keyslots":{},"tokens":{"0":{"type":"systemd-tpm2","keyslots":["x"]}}}',
        b'{"config":{"json_size":"12288"},"keyslots":[],"tokens":{}}',
    ],
)  # fmt: skip
def test_metadata_that_are_none_are_refused(spoil):
    with pytest.raises(HeaderDamaged):
        read_header(spoil)


def test_a_wrong_passphrase_changes_nothing(acts, volume, tmp_path):
    before = volume.read_bytes()
    with pytest.raises(PassphraseRefused):
        enrolled(acts, volume, tmp_path, Secret(b"wrong"))
    assert volume.read_bytes() == before
    assert entries(acts) == ()
    assert enrolled(acts, volume, tmp_path)["changed"]


class Failing:
    """The acts, of which one does not succeed; `harm` is done before."""

    def __init__(self, acts, verb, harm=lambda: None) -> None:
        self.acts, self.verb, self.harm = acts, verb, harm

    def __call__(self, verb, *given):
        if verb == self.verb:
            self.verb = None
            self.harm()
            raise KeyNotFound("the TPM went away")
        return self.acts(verb, *given)


@pytest.mark.parametrize("verb", ["status", "pcrs", "seal", "unseal", "register"])
def test_an_enrolment_that_fails_anywhere_is_undone(acts, volume, tmp_path, verb):
    before = metadata(volume)
    with pytest.raises(KeyNotFound, match="went away"):
        enroll(Failing(acts, verb), volume, tmp_path, person, Binding((7,)), NO_PIN)
    assert metadata(volume) == before
    assert opens(volume, PASSPHRASE)
    assert entries(acts) == ()
    assert not list(tmp_path.glob("luks/*/journal.json"))
    assert enrolled(acts, volume, tmp_path)["changed"]


def standing(volume) -> tuple:
    """What a header says, and the bytes of the slots that it names."""
    known, content = metadata(volume), volume.read_bytes()
    areas = ((int(slot["area"]["offset"]), int(slot["area"]["size"])) for slot in known["keyslots"].values())
    return known, [content[offset : offset + size] for offset, size in areas]


@pytest.mark.parametrize("verb", ["status", "pcrs", "seal", "unseal"])
def test_a_reseal_that_fails_anywhere_is_undone(acts, volume, tmp_path, verb):
    enrolled(acts, volume, tmp_path)
    rewrite_token(volume, **{"tpm2-pcrs": [7]})  # not as it was enrolled, so it is sealed anew without being tried
    before, kept = standing(volume), entries(acts)
    again = (volume, tmp_path, person, lambda: NO_PIN, Binding((7,)))
    with pytest.raises(KeyNotFound, match="went away"):
        reseal(Failing(acts, verb), *again)
    assert (standing(volume), entries(acts)) == (before, kept)
    assert not list(tmp_path.glob("luks/*/journal.json"))
    assert reseal(acts, *again)["pcrs"] == [7]


def test_a_header_without_room_for_the_token_is_as_it_was(acts, volume, tmp_path):
    """cryptsetup adds the slot, and refuses what belongs to it."""
    area = slice(4096, 4096 + int(metadata(volume)["config"]["json_size"]))
    free = volume.read_bytes()[area].count(0)
    import_token(volume, {"type": "of-somebody", "keyslots": [], "fill": "x" * (free - 768)})
    before = standing(volume)
    with pytest.raises(CryptsetupFailed, match="import token"):
        enrolled(acts, volume, tmp_path)
    assert (standing(volume), entries(acts)) == (before, ())
    assert not list(tmp_path.glob("luks/*/journal.json"))
    cryptsetup("token", "remove", "--token-id", 0, volume)
    assert enrolled(acts, volume, tmp_path)["changed"]


def test_an_enrolment_that_fails_leaves_what_was_kept_before(acts, volume, tmp_path):
    row = enrolled(acts, volume, tmp_path)
    cryptsetup("token", "remove", "--token-id", 0, volume)
    before = {entry.place.label for entry in entries(acts)}
    with pytest.raises(KeyNotFound, match="went away"):
        enrolled(Failing(acts, "unseal"), volume, tmp_path)
    assert {entry.place.label for entry in entries(acts)} == before == {row["uuid"], f"{row['uuid']}:1"}


def test_a_header_that_was_destroyed_meanwhile_comes_from_its_backup(acts, volume, tmp_path):
    def destroy():
        with volume.open("r+b") as file:
            file.write(bytes(1 << 16))

    before = metadata(volume)
    with pytest.raises(KeyNotFound):
        enroll(Failing(acts, "unseal", destroy), volume, tmp_path, person, Binding(), NO_PIN)
    assert metadata(volume) == before
    assert opens(volume, PASSPHRASE)
    assert entries(acts) == ()


@pytest.mark.parametrize("pin", [b"", b"12\0", b"12\n"])
def test_a_pin_that_nobody_can_type_seals_nothing(acts, volume, tmp_path, pin):
    before = metadata(volume)
    with pytest.raises(BadRequest, match="PIN"):
        enroll(acts, volume, tmp_path, person, Binding((), True), Secret(pin))
    assert metadata(volume) == before
    assert entries(acts) == ()


def test_a_slot_that_holds_another_key_is_no_persons_way(acts, volume, tmp_path):
    (tmp_path / "key").write_bytes(b"another key's")
    fast = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", 1000)
    cryptsetup("luksAddKey", "-q", "--unbound", "-s", 512, *fast, volume, tmp_path / "key", given=PASSPHRASE.reveal())
    assert set(metadata(volume)["keyslots"]) == {"0", "1"}
    with pytest.raises(PassphraseRefused):
        enrolled(acts, volume, tmp_path, Secret(b"another key's"))
    assert enrolled(acts, volume, tmp_path)["slot"] == 2
    cryptsetup("luksKillSlot", "-q", volume, 0)
    with pytest.raises(OnlyTpmOpens):
        remove(acts, volume, tmp_path, lambda: Secret(b"another key's"))


def test_the_last_way_of_a_person_stays(acts, volume, tmp_path):
    enrolled(acts, volume, tmp_path)
    assert remove(acts, volume, tmp_path, person)["changed"]
    enrolled(acts, volume, tmp_path)
    cryptsetup("luksKillSlot", "-q", volume, 0)
    before = volume.read_bytes()
    with pytest.raises(OnlyTpmOpens):
        remove(acts, volume, tmp_path, person)
    assert volume.read_bytes() == before


@pytest.mark.parametrize("kind", ["clevis", "systemd-tpm2"])
def test_what_another_program_bound_to_the_tpm_is_no_persons_way(acts, volume, tmp_path, kind):
    fields = {"jwe": {}, "tpm2-blob": "AAAA", "tpm2-pcrs": [7], "tpm2-policy-hash": "00" * 32}
    token = {"type": kind, "keyslots": ["0"], **fields}
    (tmp_path / "token").write_text(json.dumps(token))
    cryptsetup("token", "import", "--json-file", tmp_path / "token", volume)
    (row,) = listed(acts, volume)
    assert (row["slot"], row["kind"]) == (0, kind)
    with pytest.raises(OnlyTpmOpens):
        enrolled(acts, volume, tmp_path)
    add_passphrase(volume, Secret(b"a person's"))
    with pytest.raises(PassphraseRefused):
        enrolled(acts, volume, tmp_path)
    assert enrolled(acts, volume, tmp_path, Secret(b"a person's"))["slot"] == 2
    assert [row["kind"] for row in listed(acts, volume)] == [kind, "systemd-tpm2", "passphrase or key file"]


def test_a_slot_that_a_person_filled_after_a_power_cut_is_left_alone(acts, volume, tmp_path):
    uuid = cryptsetup("luksUUID", volume).stdout.decode().strip()
    with Records.of(tmp_path, uuid) as (records, _):
        records.begin(Plan(Stage.ADDING, OwnSlot(1, 4321)))
    add_passphrase(volume, Secret(b"a person's"))
    assert set(metadata(volume)["keyslots"]) == {"0", "1"}
    assert enrolled(acts, volume, tmp_path)["slot"] == 2
    assert opens(volume, Secret(b"a person's"), 1)


def test_copies_of_a_header_that_a_power_cut_left_are_removed(acts, volume, tmp_path):
    enrolled(acts, volume, tmp_path)
    (records,) = (tmp_path / "luks").iterdir()
    before = {file.name for file in records.iterdir()}
    for left in ("header", "header.now"):
        (records / left).write_bytes(b"a header")
    assert check(acts, volume, tmp_path, lambda: NO_PIN)["opens"]
    assert {file.name for file in records.iterdir()} == before


def test_one_volume_is_changed_by_one_at_a_time(acts, volume, tmp_path):
    uuid = cryptsetup("luksUUID", volume).stdout.decode().strip()
    with Records.of(tmp_path, uuid), pytest.raises(Busy):
        enrolled(acts, volume, tmp_path)
    assert enrolled(acts, volume, tmp_path)["changed"]


def test_a_journal_that_cannot_be_read_is_told(acts, volume, tmp_path):
    uuid = cryptsetup("luksUUID", volume).stdout.decode().strip()
    (tmp_path / "luks" / uuid).mkdir(parents=True)
    for damaged in (b"", b"[]", b'{"stage": "x", "adds": null, "drops": []}', b'{"stage": "adding"}'):
        (tmp_path / "luks" / uuid / "journal.json").write_bytes(damaged)
        with pytest.raises(errors.StateDamaged):
            enrolled(acts, volume, tmp_path)


def test_a_machine_without_its_key_lists_and_enrolls_nothing(acts, volume, tmp_path):
    enrolled(acts, volume, tmp_path)
    acts.platform.evict()
    other = tmp_path / "other"
    make_volume(other)
    with pytest.raises(KeyNotFound):
        enrolled(acts, other, tmp_path)
    assert listed(acts, volume)[0]["below"] == "the recoverable key"
    shutil.rmtree(acts.platform.state_directory)
    acts.platform.state_directory.mkdir()
    assert listed(acts, volume)[0]["below"].startswith("another key (0x81000004, ")
    with pytest.raises(LmsError):
        enrolled(acts, other, tmp_path)
