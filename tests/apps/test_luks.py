"""A volume is enrolled, opens by its token alone, and is never without a person's way in."""

from __future__ import annotations

import gzip
import sys
from functools import partial

import pytest

from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.listing import listed
from lms.apps.luks.removing import remove
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.errors import AuthFailed, EnrolledOtherwise, KeyNotFound, TokenUseless, VolumeNotEnrolled
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.service.register import Where
from lms.service.retrieve import retrieve
from lms.service.setting import NO_SECRET
from tests.service.test_sealing import extend
from tests.support.platform import OWNER_AUTH
from tests.support.volumes import (
    PASSPHRASE,
    PIN,
    Acting,
    add_passphrase,
    cryptsetup,
    make_volume,
    metadata,
    nobody,
    opens,
    person,
    pin,
)

BINDINGS = [Binding(), Binding((7, 11)), Binding((), True), Binding((4, 7), True)]


class Bench:
    """The verbs on one volume of one machine."""

    def __init__(self, acts, volume, directory) -> None:
        parts = (acts, volume, directory)
        self.enroll = partial(enroll, *parts)
        self.check = partial(check, *parts)
        self.reseal = partial(reseal, *parts)
        self.remove = partial(remove, *parts)


@pytest.fixture
def bench(acts, volume, tmp_path):
    return Bench(acts, volume, tmp_path / "apps")


@pytest.mark.parametrize("binding", BINDINGS, ids=str)
def test_an_enrolled_volume_opens_by_its_token_and_again_without_it(bench, acts, volume, binding):
    row = bench.enroll(person, binding, PIN)
    assert row["changed"]
    proven = bench.check(pin if binding.pin else nobody)
    assert (proven["opens"], proven["header-kept"], proven["persons"]) == (True, True, 1)
    assert bench.enroll(nobody, binding, PIN) == row | {"changed": False}
    assert not bench.reseal(nobody, pin)["changed"]
    ours, theirs = listed(acts, volume)
    assert ours.items() <= row.items()
    assert (ours["below"], ours["pcrs"], ours["pin"]) == ("the recoverable key", list(binding.pcrs), binding.pin)
    assert (theirs["slot"], theirs["kind"]) == (0, "passphrase or key file")
    assert bench.remove(person)["removed"] == [row["slot"]]
    assert (set(metadata(volume)["keyslots"]), metadata(volume)["tokens"]) == ({"0"}, {})
    assert opens(volume, PASSPHRASE)
    assert not bench.remove(nobody)["changed"]
    with pytest.raises(VolumeNotEnrolled):
        bench.check(nobody)


def test_another_binding_is_told_and_changes_nothing(bench, volume):
    bench.enroll(person, Binding(), PIN)
    before = volume.read_bytes()
    for binding in BINDINGS[1:]:
        with pytest.raises(EnrolledOtherwise):
            bench.enroll(nobody, binding, PIN)
    assert volume.read_bytes() == before


def test_a_wrong_pin_opens_nothing_and_reseals_nothing(bench, volume):
    bench.enroll(person, Binding((), True), PIN)
    before = volume.read_bytes()
    with pytest.raises(AuthFailed):  # once: the TPM counts
        bench.reseal(nobody, lambda: Secret(b"0816"))
    assert volume.read_bytes() == before
    assert bench.check(pin)["opens"]


def test_a_volume_whose_pcrs_changed_is_found_and_sealed_anew_with_the_reason(bench, archived, volume):
    bench.enroll(person, Binding((7, 11)), PIN)
    extend(archived, 12)
    assert bench.check(nobody)["opens"]
    extend(archived, 11)
    with pytest.raises(TokenUseless, match=r"PCR 7, 11 had other values .* board, firmware"):
        bench.check(nobody)
    with pytest.raises(TokenUseless, match="PCR 7, 11"):
        bench.enroll(nobody, Binding((7, 11)), PIN)
    row = bench.reseal(person, nobody)
    assert row["changed"]
    assert "PCR 7, 11 had other values" in row["reason"]
    assert (set(metadata(volume)["keyslots"]), len(metadata(volume)["tokens"])) == ({"0", "2"}, 1)
    assert bench.check(nobody)["opens"]
    assert not bench.reseal(nobody, nobody)["changed"]


def test_a_volume_goes_without_pcrs_over_a_firmware_update_and_opens(bench, archived):
    bound, free = Binding((7, 11)), Binding()
    bench.enroll(person, bound, PIN)
    with pytest.raises(EnrolledOtherwise):
        bench.reseal(nobody, nobody, free)
    bench.remove(person)
    bench.enroll(person, free, PIN)
    extend(archived, 7)
    assert bench.check(nobody)["opens"]
    bench.remove(person)
    assert bench.enroll(person, bound, PIN)["pcrs"] == [7, 11]
    assert bench.check(nobody)["opens"]


def test_a_slot_that_holds_something_else_is_found_and_made_anew(bench, volume):
    """The token unseals as ever: that it opens the volume shows in a test alone."""
    slot = str(bench.enroll(person, Binding(), PIN)["slot"])
    area = metadata(volume)["keyslots"][slot]["area"]
    with volume.open("r+b") as file:
        file.seek(int(area["offset"]))
        file.write(bytes(int(area["size"])))
    for verb in (partial(bench.check, nobody), partial(bench.enroll, nobody, Binding(), PIN)):
        with pytest.raises(TokenUseless, match=f"slot {slot} has not the passphrase of its token") as told:
            verb()
        assert "luks reseal" in told.value.hint
    assert bench.reseal(person, nobody)["reason"] == f"slot {slot} has not the passphrase of its token"
    assert (set(metadata(volume)["keyslots"]), len(metadata(volume)["tokens"])) == ({"0", "2"}, 1)
    assert bench.check(nobody)["opens"]


def test_a_board_takes_its_volumes_to_the_next_one(acts, volume, archived, machines, token, tmp_path):
    """One is bound to no PCR and needs nothing; what was bound to the old board's is sealed anew."""
    other = volume.with_name("other")
    make_volume(other)
    extend(archived, 7)
    free, bound = Bench(acts, volume, tmp_path / "apps"), Bench(acts, other, tmp_path / "apps")
    free.enroll(person, Binding(), PIN)
    bound.enroll(person, Binding((7,)), PIN)
    archived.archive()
    new = machines(disk_of=archived.directory)
    with pytest.raises(KeyNotFound):
        Bench(Acting(new), volume, tmp_path / "apps").check(nobody)
    new.restore(token, archived.packages[-1].read_bytes())
    header = volume.read_bytes()
    free, bound = (Bench(Acting(new), path, tmp_path / "apps") for path in (volume, other))
    assert free.check(nobody)["opens"]
    with pytest.raises(TokenUseless):
        bound.check(nobody)
    assert bound.reseal(person, nobody)["changed"]
    assert bound.check(nobody)["opens"]
    assert volume.read_bytes() == header


def test_a_machine_with_another_recoverable_key_seals_its_volumes_anew(bench, volume, platform, token, tmp_path):
    bench.enroll(person, Binding((), True), PIN)
    platform.provision(token)
    anew = Bench(Acting(platform), volume, tmp_path / "apps")
    assert listed(Acting(platform), volume)[0]["below"].startswith("a recoverable key that is not here (0x81000004, ")
    with pytest.raises(TokenUseless, match="has no more"):
        anew.check(nobody)
    row = anew.reseal(person, pin)
    assert (row["below"], row["pin"]) == ("the recoverable key", True)
    assert (set(metadata(volume)["keyslots"]), len(metadata(volume)["tokens"])) == ({"0", "2"}, 1)
    assert anew.check(pin)["opens"]


def test_the_header_that_packages_carry_brings_a_volume_back(bench, archived, volume, platform, token, tmp_path):
    """On a machine that knows nothing but the newest package."""
    bench.enroll(person, Binding(), PIN)
    archived.archive()
    platform.restore(token, archived.packages[-1].read_bytes(), confirmed_key=archived.state.require_drsk().name.digits)
    uuid = cryptsetup("luksUUID", volume).stdout.decode().strip()
    kept = retrieve(platform.setting, ROOT, Where("luks", uuid), OWNER_AUTH, NO_SECRET)["data"].reveal()
    assert len(kept) < 1 << 20
    with volume.open("r+b") as file:
        file.write(bytes(1 << 20))
    assert not opens(volume, PASSPHRASE)
    (tmp_path / "header").write_bytes(gzip.decompress(kept))
    cryptsetup("luksHeaderRestore", "-q", volume, "--header-backup-file", tmp_path / "header")
    assert opens(volume, PASSPHRASE)
    for machine in (Bench(Acting(platform), volume, tmp_path / "other"), bench):
        assert machine.check(nobody)["opens"]


def test_a_header_that_changed_is_kept_anew(bench, volume):
    bench.enroll(person, Binding(), PIN)
    add_passphrase(volume, Secret(b"another person's"))
    proven = bench.check(nobody)
    assert (proven["header-kept"], proven["persons"]) == (False, 2)
    assert bench.enroll(nobody, Binding(), PIN)["changed"]
    assert bench.check(nobody)["header-kept"]


def test_what_opens_a_volume_is_in_no_command_line(bench, volume):
    seen, listening = [], True

    def look(name: str, arguments: object) -> None:
        if listening and name == "subprocess.Popen":
            seen.append(repr(arguments))

    sys.addaudithook(look)
    bench.enroll(person, Binding((), True), PIN)
    listening = False
    assert any("luksAddKey" in words for words in seen)
    assert not [words for words in seen if "person" in words or "0815" in words or "TSS2" in words]
    assert [words for words in seen if "luksAddKey" in words and "/dev/fd/" in words]
