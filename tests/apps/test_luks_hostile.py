"""A header is whatever somebody wrote: without a passphrase and without the TPM it changes nothing that we do to it."""

from __future__ import annotations

import base64
import json

import pytest

from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.errors import BindingUnproven, EnrolledOtherwise, TokenUseless
from lms.model.secret import Secret
from tests.service.test_sealing import extend
from tests.support.volumes import PASSPHRASE, blob_of, metadata, rewrite_token

PIN = Secret(b"0815")


def person() -> Secret:
    return PASSPHRASE


def pin() -> Secret:
    return PIN


def nobody() -> Secret:
    raise AssertionError("nothing has to be asked for")


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


def test_enroll_again_writes_down_what_is_proven(acts, archived, volume, bound):
    forget(bound)
    assert not enroll(acts, volume, bound, nobody, Binding((7,), True), PIN)["changed"]
    extend(archived, 7)
    assert reseal(acts, volume, bound, person, pin)["pcrs"] == [7]
