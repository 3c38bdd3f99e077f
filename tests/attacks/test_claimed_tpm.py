"""An operator who claims a TPM: a genuine EK that he may ask, beside an AK and a vault that live elsewhere.

The approver cannot see that from the request. What comes of it: the certificate opens for nobody.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.adapters.tpm import TpmDevice
from lms.adapters.vault import open_vault
from lms.errors import InnerKeyMismatch, KeyNotFound
from lms.model.exchange import EnrolmentGrant
from lms.service.keeping.chip import ChipSetting, chip_opener, ensure_vault, make_chip_identity
from lms.service.keeping.enrolment import (
    accept_authority_grant,
    authority_request_id,
    request_authority_enrolment,
)
from lms.service.setting import NO_SECRET
from lms.wire.exchange_v1 import ENROLMENT_GRANT
from lms.wire.tpm.public import name_of
from tests.support.documents import NOW, uuid
from tests.support.migration import ADDRESS, Office
from tests.support.platform import OWNER_AUTH
from tests.support.swtpm import SoftwareTpm


class Chip:
    """A TPM with an authority's vault in it."""

    def __init__(self, directory) -> None:
        self.machine = SoftwareTpm(directory).start()
        self.tpm = TpmDevice(self.machine.tcti)
        setting = ChipSetting(self.tpm, lambda: NOW)
        self.identity = make_chip_identity(setting, uuid("ma"), (ADDRESS,), OWNER_AUTH, unverified_tpm=True)
        ensure_vault(setting, self.identity, OWNER_AUTH)

    def close(self) -> None:
        self.tpm.close()
        self.machine.remove()


@pytest.fixture
def chips(tmp_path):
    """A genuine chip, and the one that shall pass for it."""
    made = (Chip(tmp_path / "genuine"), Chip(tmp_path / "other"))
    yield made
    for chip in made:
        chip.close()


@pytest.fixture
def take(tmp_path):
    """Lets the owner approve an identity; a TPM takes the grant."""
    office, store = Office(), open_vault(f"sqlite:///{tmp_path / 'vault.sqlite'}")

    def taking(identity, tpm):
        granted = office.grant(request_authority_enrolment(identity, NOW), authority_request_id(identity))
        value, _ = ENROLMENT_GRANT.read(granted)
        assert isinstance(value, EnrolmentGrant)
        taking.credential = value.certificates.credential
        opens = chip_opener(tpm, identity, NO_SECRET)
        with store.transaction() as transaction:
            return accept_authority_grant(identity, opens, transaction, granted, office.world.owner, NOW)

    yield taking
    store.close()


def test_who_borrows_a_genuine_ek_gets_no_certificate(chips, take):
    genuine, other = chips
    ek = genuine.identity.chip.ek
    claimed = replace(other.identity, chip=replace(other.identity.chip, ek=ek))
    with pytest.raises(KeyNotFound):
        take(claimed, other.tpm)
    with pytest.raises(InnerKeyMismatch):
        genuine.tpm.activate(name_of(ek), 0, take.credential, NO_SECRET)


def test_who_has_the_tpm_gets_it(chips, take):
    _, other = chips
    assert take(other.identity, other.tpm)[1] is True
