"""What an act is told and cannot use: one clear error before anything is done, and nothing changed."""

from __future__ import annotations

import pytest

from lms.errors import BadRequest, NotProvisioned, RestoreFirst
from lms.model.jobs import Awaiting
from lms.model.registered import Caller
from tests.support.acts import act, call_of, run
from tests.support.platform import OWNER_AUTH

ANNA = Caller(1000, "anna")
_PLACE = {"application": "luks", "label": "disk"}
_VALUE = b"a passphrase"

USELESS = {
    "nothing to forget": ("forget", {}, {}),
    "a number for a flag": ("archive", {"if-changed": 1}, {}),
    "a flag for a number": ("restore", {"accept-stale": True}, {}),
    "no document": ("inspect", {}, {}),
    "two documents": ("inspect", {}, {"owner": b"<a/>", "sheet": b"<a/>"}),
    "an unknown destination": ("enroll", {"destination": "cloud"}, {}),
    "no authority's ID": ("enroll", {"destination": "ma", "id": "the first one"}, {}),
    "no destination's ID": ("forget", {"destination": "the first one"}, {}),
    "nothing to register": ("register", _PLACE, {}),
    "two things to register": ("register", _PLACE, {"password": _VALUE, "data": _VALUE}),
    "a key and its other half twice": ("register", _PLACE, {"public": b"", "private": b"", "sensitive": b""}),
    "half a key beside a password": ("register", _PLACE, {"password": _VALUE, "private": b""}),
    "a new key beside a password": ("register", {**_PLACE, "algorithm": "ecc-p256"}, {"password": _VALUE}),
    "an algorithm that we do not make": ("register", {**_PLACE, "algorithm": "rot13"}, {}),
    "no Name of a parent": ("register", {**_PLACE, "parent": "000b"}, {"public": b"", "private": b""}),
    "no digest of a policy": ("seal", {**_PLACE, "policy": "open"}, {"data": _VALUE}),
    "no number of a PCR": ("pcrs", {"pcrs": "7,eleven"}, {}),
    "a PCR that no TPM has": ("pcrs", {"pcrs": "24"}, {}),
    "a trust list without a token": ("restore", {}, {"grant": b"<a/>"}),
    "stolen without a token": ("restore", {"stolen": True}, {}),
    "no Name of a foreign key": ("restore", {"replace-foreign": "000b"}, {}),
}


@pytest.mark.parametrize("case", USELESS.values(), ids=USELESS)
def test_what_cannot_be_used_is_refused(provisioned, case):
    verb, options, secrets = case
    before = provisioned.state
    with pytest.raises(BadRequest):
        act(provisioned, verb, options, **secrets)
    assert provisioned.state == before


def test_a_user_is_asked_for_his_password_where_that_can_be(provisioned):
    """Positive control: the same call with it gets past the question."""
    for waits, error in ((True, Awaiting), (False, BadRequest)):
        with pytest.raises(error, match="user-password"):
            run(provisioned, "register", call_of(_PLACE, caller=ANNA, waits=waits, password=_VALUE))
    call = call_of(_PLACE, caller=ANNA, password=_VALUE, user_password=b"annas password")
    assert run(provisioned, "register", call)["owner"] == ANNA.owner
    for waits, error in ((True, Awaiting), (False, BadRequest)):
        with pytest.raises(error, match="user-password"):
            run(provisioned, "retrieve", call_of(_PLACE, caller=ANNA, waits=waits))
    call = call_of(_PLACE, caller=ANNA, user_password=b"annas password")
    assert run(provisioned, "retrieve", call)["collect"] == ["password"]
    assert call.offered["password"].reveal() == _VALUE


@pytest.mark.parametrize("destination", ["token", "ma", "msa"])
def test_before_it_is_provisioned_nothing_enrolls_or_archives(platform, destination):
    for verb, options in (("enroll", {"destination": destination}), ("archive", {})):
        with pytest.raises(NotProvisioned):
            act(platform, verb, options)
    assert platform.store.load() is None


def test_on_another_tpm_everything_waits_for_the_restore(machines, archived_machine):
    board = machines(disk_of=archived_machine)
    before, packages = board.state, board.packages
    for verb, options in (("archive", {}), ("enroll", {"destination": "token"}), ("enroll", {"destination": "msa"})):
        with pytest.raises(RestoreFirst):
            act(board, verb, options, owner_auth=OWNER_AUTH.reveal())
    assert (board.state, board.packages) == (before, packages)
    assert act(board, "status")["reason"] == "other-tpm"
