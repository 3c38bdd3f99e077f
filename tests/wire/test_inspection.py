"""What a document says of itself to a person: every kind of ours says what it is about, and nothing is believed."""

from __future__ import annotations

import json

import pytest

from lms.errors import BadRequest
from lms.model.keys import digits
from lms.wire.document import root_name
from lms.wire.exchange_v1 import DOCUMENTS
from lms.wire.inspection import inspect_document, verify_package
from tests.support.documents import NOW, make_owner, make_package, make_platform
from tests.support.vectors import FOLDER, read_vector

GOOD = {path.name: read_vector(path)[1] for path in sorted(FOLDER.glob("good-*.xml"))}
# What each kind of document is about.
ABOUT = {
    "MigrationPackage": {"package", "platform", "sequence", "created", "keys"},
    "EmergencyRecoveryToken": {"fingerprint", "token"},
    "OwnerDocument": {"fingerprint", "token"},
    "RecoverySheet": {"platform", "owner", "key", "authorities", "sequence"},
    "EnrolmentRequest": {"request"},
    "EnrolmentGrant": {"request", "mode", "combined"},
    "RestoreRequest": {"request", "platform"},
    "RestoreAnnex": {"request", "package", "sequence", "stored"},
    "RestoreApproval": {"request", "package", "not-before", "not-after", "stolen"},
    "TrustList": {"number", "owner", "issued", "platforms", "authorities", "withdrawn"},
    "ReleasedPackage": set(),
    "RewrappedPackage": set(),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_document_says_what_it_is_about(name):
    document = GOOD[name]
    facts = inspect_document(document)
    assert facts["document"] == root_name(document)
    assert ABOUT[facts["document"]] <= facts.keys()
    assert facts.get("verified") in (None, False)
    json.dumps(facts)


def test_every_kind_is_among_them():
    assert {root_name(document) for document in GOOD.values()} == ABOUT.keys()
    assert DOCUMENTS.keys() <= ABOUT.keys()


def test_the_digits_of_a_request_are_those_that_its_machine_shows():
    document = GOOD["good-restore-request.xml"]
    request_id = DOCUMENTS["RestoreRequest"].read(document)[0].base.request_id
    assert inspect_document(document)["request"] == digits(request_id)


def test_an_enrolment_says_whose_it_is():
    assert "platform" in inspect_document(GOOD["good-enrolment-request-platform.xml"])
    assert {"authority", "mode", "addresses"} <= inspect_document(GOOD["good-authority-software.xml"]).keys()


def test_what_is_none_of_our_documents_is_said_to_be_so():
    with pytest.raises(BadRequest, match="cannot inspect a 'html'"):
        inspect_document(b"<html></html>")


def test_a_verified_package_says_so():
    platform = make_platform()
    facts = verify_package(platform.signed(make_package()), make_owner().owner, None, NOW)
    assert (facts["document"], facts["verified"], facts["signer-approved"]) == ("MigrationPackage", True, True)
