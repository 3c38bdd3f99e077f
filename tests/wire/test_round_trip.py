"""Every kind of document comes back as it was written, and what is written is its own canonical form."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from lms.errors import SchemaViolation
from lms.model.packages import ItemUsage
from lms.wire import token_v1
from lms.wire.binding import BASE64, HEX, NAME, NUMBER, TIME, UUID_TEXT
from lms.wire.content import decrypt_item
from lms.wire.document import canonical
from lms.wire.exchange_v1 import DOCUMENTS, TRUST_LIST
from lms.wire.package_v1 import read_package, write_package
from lms.wire.signature import sign, verify
from tests.support.documents import (
    CONTENT_KEY,
    LATER,
    NOW,
    make_owner,
    make_package,
    make_platform,
    make_token,
    owner_document,
    small_package,
    uuid,
)
from tests.support.exchange import examples, sheet, trust_list

PACKAGES = {
    "whole": make_package(),
    "small": small_package(),
    "all-optional": replace(
        make_package(), header=replace(make_package().header, expires=LATER, supersedes=uuid("earlier"))
    ),
}
TOKENS = {
    "owner": (lambda: owner_document(make_owner().keys), token_v1.write_owner_document, token_v1.read_owner_document),
    "token": (lambda: make_token(make_owner()), token_v1.write_token, token_v1.read_token),
    "sheet": (sheet, token_v1.write_sheet, token_v1.read_sheet),
    "sheet-alone": (lambda: replace(sheet(), authorities=()), token_v1.write_sheet, token_v1.read_sheet),
}


def is_canonical(document):
    return canonical(etree.fromstring(document)) == document


@pytest.mark.parametrize("label", PACKAGES)
def test_packages(label):
    package, signer = PACKAGES[label], make_platform().signer
    unsigned = write_package(package)
    document = sign(unsigned, signer)
    untrusted = read_package(document)
    assert untrusted.content == package
    assert untrusted.signed.certificates == signer.certificates
    assert write_package(untrusted.content) == unsigned
    assert is_canonical(unsigned)
    assert is_canonical(document)
    verify(untrusted.signed)


@pytest.mark.parametrize("label", examples())
def test_exchange_documents(label):
    root, value, signer = examples()[label]
    kind = DOCUMENTS[root]
    unsigned = kind.write(value)
    document = sign(unsigned, signer)
    found, signed = kind.read(document)
    assert found == value
    assert kind.write(found) == unsigned
    assert is_canonical(unsigned)
    assert is_canonical(document)
    verify(signed)


def test_there_is_an_example_of_every_exchange_document():
    assert {root for root, _, _ in examples().values()} == set(DOCUMENTS)


@pytest.mark.parametrize("label", TOKENS)
def test_owner_documents_tokens_and_sheets(label):
    make, write, read = TOKENS[label]
    value = make()
    unsigned = write(value)
    document = sign(unsigned, make_owner().signer)
    found, signed = read(document)
    assert found == value
    assert write(found) == unsigned
    assert is_canonical(document)
    verify(signed)


def test_header_of_a_token_is_written_as_it_stands_in_the_file():
    token = make_token(make_owner())
    header = token_v1.token_header(token)
    assert is_canonical(header)
    inherited = header.replace(b' xmlns="urn:localmigration:token:1"', b"")
    assert inherited in token_v1.write_token(token)


def test_sheet_is_small():
    assert len(sign(token_v1.write_sheet(sheet()), make_owner().signer)) < 8 * 1024


# What no control character, surrogate or unassigned code point can be, a label can.
# libxml2 still counts two Khmer vowels among the control characters.
LINE = st.text(st.characters(codec="utf-8", exclude_categories=("C",), exclude_characters="\u17b4\u17b5"), max_size=255)
ODD = st.text(st.sampled_from(" \"'<>&;&lt;&#x9;]]>\u00a0\u2028\u0301é\U0001f511\ufffd"), max_size=255)


@given(label=LINE | ODD, application=LINE | ODD, host=LINE | ODD)
def test_any_label_survives(label, application, host):
    platform, package = make_platform(), small_package()
    (key,) = package.migrating_keys
    item = replace(
        platform.item(key.key_id, ItemUsage.DATA, "x"), label=label, application=application, content_key="C0"
    )
    header = replace(package.header, source=replace(package.header.source, host_name=host))
    key = replace(key, label=label, data=(item,))
    package = replace(package, header=header, migrating_keys=(key,))
    document = sign(write_package(package), platform.self_issued)
    assert read_package(document).content == package


@given(label=LINE | ODD, value=st.binary(max_size=100))
def test_any_content_survives(label, value):
    platform = make_platform()
    item = platform.item(platform.drsk.name, ItemUsage.DATA, label, value)
    assert decrypt_item(item, CONTENT_KEY, platform.id, platform.drsk.name).reveal() == value


@pytest.mark.parametrize("label", ["\n", "\t", "\r", "a\nb", "\x7f", "\x85", "\u200b", "\u202e", "\ue000", "x" * 256])
def test_label_that_deceives_the_eye_is_refused(label):
    package = small_package()
    (key,) = package.migrating_keys
    document = make_platform().signed(replace(package, migrating_keys=(replace(key, label=label),)))
    with pytest.raises(SchemaViolation):
        read_package(document)


@pytest.mark.parametrize("owner", ["root", "1000", "1000:", ":anna", "01:anna", "1000:an na", "1000:a:b", "System", ""])
def test_owner_that_is_neither_system_nor_user_is_refused(owner):
    package = make_package()
    (child,) = package.child_keys
    with pytest.raises(SchemaViolation):
        read_package(make_platform().signed(replace(package, child_keys=(replace(child, owner=owner),))))


@pytest.mark.parametrize(
    ("form", "text"),
    [
        (BASE64, "QQ"),
        (BASE64, "QR=="),
        (BASE64, "QQ==\n"),
        (BASE64, "Q Q="),
        (BASE64, "QQ==é"),
        (HEX, "0a"),
        (HEX, "0A 0B"),
        (HEX, "0"),
        (NAME, "000b" + "00" * 32),
        (NAME, "000B" + "00" * 31),
        (NAME, "000B" + "0a" * 32),
        (UUID_TEXT, "{00000000-0000-4000-8000-000000000000}"),
        (UUID_TEXT, "00000000000040008000000000000000"),
        (UUID_TEXT, "0000000A-0000-4000-8000-000000000000"),
        (TIME, "2026-1-02T03:04:05Z"),
        (TIME, "2026-02-30T03:04:05Z"),
        (TIME, "2026-01-02T03:04:60Z"),
        (TIME, "2026-01-02T03:04:05+00:00"),
        (NUMBER, "01"),
        (NUMBER, "+1"),
        (NUMBER, "1_0"),
        (NUMBER, "\u0661"),
    ],
)
def test_second_spelling_of_a_value_is_refused(form, text):
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the standard library's
        form.read(text)


@given(st.datetimes(timezones=st.just(UTC)), st.uuids(), st.integers(0, 10**18 - 1), st.binary())
def test_values_survive(time, identity, number, data):
    time = time.replace(microsecond=0)
    for form, value in ((TIME, time), (UUID_TEXT, identity), (NUMBER, number), (BASE64, data), (HEX, data)):
        assert form.read(form.write(value)) == value


def test_times_are_written_in_utc_without_fractions():
    there = datetime(2026, 1, 2, 4, 4, 5, 999, tzinfo=timezone(timedelta(hours=1)))
    assert TIME.write(there) == TIME.write(NOW) == "2026-01-02T03:04:05Z"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<Created>2026-01-02", b"<Created>2026-02-30"),
        (b'Id="_', b'Id="_0'),
        (b"<InnerSymmetric>AAYAgABD", b"<InnerSymmetric>AAYAgABDA"),
    ],
)
def test_what_a_schema_cannot_say_is_refused_as_well(old, new):
    document = make_platform().signed(small_package())
    assert old in document
    with pytest.raises(SchemaViolation):
        read_package(document.replace(old, new, 1))


def test_policy_with_unsorted_branches_is_refused():
    document = write_package(small_package())
    start, end = document.index(b"<Branch"), document.index(b"</Policy>")
    first, second = (b + b"</Branch>" for b in document[start:end].split(b"</Branch>")[:2])
    swapped = sign(document.replace(first + second, second + first), make_platform().signer)
    with pytest.raises(SchemaViolation):
        read_package(swapped)


def test_withdrawal_of_nobody_is_refused():
    good = sign(TRUST_LIST.write(trust_list(make_platform().identity)), make_owner().signer)
    for urn in (b"urn:localmigration:owner:", b"urn:localmigration:nobody:", b"URN:localmigration:platform:"):
        with pytest.raises(SchemaViolation):
            TRUST_LIST.read(good.replace(b"urn:localmigration:platform:", urn))


def test_package_id_is_the_documents_id():
    assert read_package(make_platform().signed(small_package())).content.header.package_id == UUID(
        str(uuid("platform package"))
    )


def test_two_elements_with_one_id_are_refused():
    package = make_package()
    (key,) = package.content_keys
    with pytest.raises(SchemaViolation):
        read_package(make_platform().signed(replace(package, content_keys=(key, key))))
    twice = replace(package.header, destinations=package.header.destinations[:1] * 2)
    with pytest.raises(SchemaViolation):
        read_package(make_platform().signed(replace(package, header=twice)))
