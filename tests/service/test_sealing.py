"""What is sealed under a policy opens with that policy alone; our digests are those that the TPM computes."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from tpm2_pytss.constants import ESYS_TR

from lms.errors import AuthFailed, BadRequest, BlobRefused, PcrsDiffer, TpmLockedOut
from lms.model.registered import ROOT
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.service.acts import ACTS, Call
from lms.service.register import Where
from lms.service.seal import seal, unseal
from lms.service.setting import NO_SECRET
from lms.wire.tpm.policy import EMPTY, auth_value, pcrs
from lms.wire.tpm.public import Attributes, read_public
from tests.adapters.tpm.bench import plain_esapi
from tests.support.platform import Platform

PLACE, VALUE, PIN = Where("luks", "disk"), Secret(bytes(range(32))), Secret(b"1234")
BOUND = (7, 11, 23)


def extend(platform: Platform, pcr: int) -> None:
    """Something else was booted."""
    platform.let_go()
    with plain_esapi(platform.machine.tcti) as esapi:
        esapi.pcr_event(getattr(ESYS_TR, f"PCR{pcr}"), b"another kernel")


def sealed(platform: Platform, numbers=(), auth=NO_SECRET) -> SealedObject:
    """Sealed under the policy that systemd asks for."""
    policy = pcrs(platform.tpm.read_pcrs(numbers)) if numbers else EMPTY
    policy = auth_value(policy) if auth else policy
    return seal(platform.setting, ROOT, PLACE, VALUE, auth, policy).key


@pytest.mark.parametrize(("numbers", "auth"), [((), NO_SECRET), (BOUND, NO_SECRET), ((), PIN), (BOUND, PIN)])
def test_what_is_sealed_under_a_policy_opens_by_it(provisioned, numbers, auth):
    extend(provisioned, 11)
    key = sealed(provisioned, numbers, auth)
    area = read_public(key.public)
    assert area.attributes == (Attributes(0) if auth else Attributes.NO_DA)
    assert len(area.policy) == 32
    assert unseal(provisioned.setting, key, numbers, auth) == VALUE


def test_other_values_of_the_pcrs_open_nothing(provisioned):
    key = sealed(provisioned, BOUND)
    extend(provisioned, 12)
    assert unseal(provisioned.setting, key, BOUND, NO_SECRET) == VALUE
    extend(provisioned, 11)
    with pytest.raises(PcrsDiffer, match="PCR 7, 11, 23"):
        unseal(provisioned.setting, key, BOUND, NO_SECRET)
    again = sealed(provisioned, BOUND)
    assert unseal(provisioned.setting, again, BOUND, NO_SECRET) == VALUE


def test_a_pin_is_asked_for_and_wrong_ones_are_counted(provisioned):
    key = sealed(provisioned, (7,), PIN)
    with pytest.raises(AuthFailed):
        unseal(provisioned.setting, key, (7,), Secret(b"1235"))
    with pytest.raises(PcrsDiffer):
        unseal(provisioned.setting, key, (7,), NO_SECRET)
    with pytest.raises(AuthFailed):
        unseal(provisioned.setting, sealed(provisioned, (), PIN), (), NO_SECRET)
    assert unseal(provisioned.setting, key, (7,), PIN) == VALUE


def test_an_object_with_an_authorisation_of_its_own_opens_by_that(provisioned):
    key = seal(provisioned.setting, ROOT, PLACE, VALUE, PIN).key
    assert unseal(provisioned.setting, key, (), PIN) == VALUE
    with pytest.raises(AuthFailed):
        unseal(provisioned.setting, key, (), NO_SECRET)


def test_what_was_altered_opens_nothing(provisioned):
    key = sealed(provisioned)
    altered = SealedObject(key.public, key.private[:-1] + bytes((key.private[-1] ^ 1,)))
    with pytest.raises(BlobRefused):
        unseal(provisioned.setting, altered, (), NO_SECRET)
    assert unseal(provisioned.setting, key, (), NO_SECRET) == VALUE


def test_the_acts_say_what_stands_where_and_hand_the_rest_out(provisioned):
    options = {"application": "luks", "label": "disk", "policy": EMPTY.hex()}
    call = Call(options, {"data": VALUE})
    answer = ACTS["seal"](call, provisioned.setting)
    assert answer["collect"] == ["private", "public"]
    again = Call({}, call.offered)
    assert ACTS["unseal"](again, provisioned.setting) == {"collect": ["data"]}
    assert again.offered == {"data": VALUE}
    read = ACTS["pcrs"](Call({"pcrs": "11,7"}, {}), provisioned.setting)
    assert read == {"bank": "sha256", "values": {"7": bytes(32).hex(), "11": bytes(32).hex()}}
    extend(provisioned, 11)
    read = ACTS["pcrs"](Call({"pcrs": "11"}, {}), provisioned.setting)
    assert read["values"] == {"11": hashlib.sha256(bytes(32) + hashlib.sha256(b"another kernel").digest()).hexdigest()}


@pytest.mark.parametrize("words", ["24", "-1", "7,", "7;8", "sha1:7", "7 ", "٧"])
def test_a_list_of_pcrs_that_is_none_is_refused(provisioned, words):
    with pytest.raises(BadRequest, match="list of PCRs"):
        ACTS["pcrs"](Call({"pcrs": words}, {}), provisioned.setting)


@pytest.mark.parametrize("policy", ["", "00" * 31, "00" * 33, "0" * 63 + "x"])
def test_a_policy_that_is_none_seals_nothing(provisioned, policy):
    call = Call({"application": "luks", "label": "disk", "policy": policy}, {"data": VALUE})
    with pytest.raises(BadRequest, match="policy"):
        ACTS["seal"](call, provisioned.setting)
    assert provisioned.state.registry.entries == ()


def guess(platform: Platform, key: SealedObject) -> None:
    """More often than any TPM allows."""
    for _ in range(32):
        with suppress(AuthFailed):
            unseal(platform.setting, key, (7,), Secret(b"1235"))


def test_in_a_lock_out_opens_what_has_no_pin(provisioned):
    free, guarded = sealed(provisioned, (7,)), sealed(provisioned, (7,), PIN)
    with pytest.raises(TpmLockedOut):
        guess(provisioned, guarded)
    assert unseal(provisioned.setting, free, (7,), NO_SECRET) == VALUE
    with pytest.raises(TpmLockedOut):
        unseal(provisioned.setting, guarded, (7,), PIN)
