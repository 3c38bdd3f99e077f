"""Who is believed on a TLS connection: the owner's certificate for this MAID, or the key that the trust list names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lms.errors import AuthorityUntrusted
from lms.model.trust import Identity, Role
from lms.wire.certificates import issue, self_issue
from lms.wire.tls import judge_tls
from tests.support.documents import NOW, make_owner, private_key, uuid
from tests.support.exchange import trust_list
from tests.support.tls import ATTESTATION, CLIENT, MA, MA_KEY, SERVER, listed, tls_certificate

WORLD, STRANGER = make_owner(), make_owner("stranger")
OTHER = Identity(Role.MIGRATION_AUTHORITY, uuid("other ma"))
GOOD = tls_certificate(WORLD, MA)


def judge(leaf, trust=None, ma_id=MA.uuid):
    judge_tls(leaf, ma_id, WORLD.owner, trust)


def test_the_owners_certificate_for_this_authority_is_accepted():
    judge(GOOD)
    judge(GOOD, trust_list())
    judge(tls_certificate(WORLD, MA, usages=(CLIENT, SERVER)))


def test_certificates_never_end():
    judge(tls_certificate(WORLD, MA, ends=datetime(2021, 1, 1, tzinfo=UTC)))


REFUSED = {
    "by another owner": (tls_certificate(STRANGER, MA), "owner's CA"),
    "self-issued": (tls_certificate(None, MA), "owner's CA"),
    "self-issued request": (self_issue(MA, MA_KEY, NOW), "owner's CA"),
    "the CA itself": (WORLD.owner.ca_certificate, "owner's CA"),
    "another authority": (tls_certificate(WORLD, OTHER), "cannot take"),
    "a platform": (tls_certificate(WORLD, Identity(Role.PLATFORM, MA.uuid)), "cannot take"),
    "a station": (tls_certificate(WORLD, Identity(Role.STATION, MA.uuid)), "cannot take"),
    "a signer": (tls_certificate(WORLD, Identity(Role.SIGNER, MA.uuid)), "cannot take"),
    "two authorities": (tls_certificate(WORLD, MA, OTHER), "exactly one role"),
    "nobody": (tls_certificate(WORLD), "exactly one role"),
    "no use": (tls_certificate(WORLD, MA, usages=()), "TLS server"),
    "a document's signer": (issue(MA, MA_KEY.public_key(), WORLD.owner.ca_certificate, WORLD.keys.ca, NOW), "server"),
    "a client": (tls_certificate(WORLD, MA, usages=(CLIENT,)), "TLS server"),
    "an attestation key": (tls_certificate(WORLD, MA, usages=(SERVER, ATTESTATION)), "TLS server"),
    "truncated": (GOOD[:-1], "cannot read"),
    "nothing": (b"", "cannot read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_another_certificate_is_refused(case):
    leaf, words = REFUSED[case]
    with pytest.raises(AuthorityUntrusted, match=words):
        judge(leaf)
    with pytest.raises(AuthorityUntrusted, match=words):
        judge(leaf, trust_list())


def test_altered_certificate_is_refused():
    position = GOOD.rindex(MA.urn.encode())
    with pytest.raises(AuthorityUntrusted, match="owner's CA"):
        judge(GOOD[:position] + OTHER.urn.encode() + GOOD[position + len(MA.urn) :], ma_id=OTHER.uuid)


def test_another_authority_is_not_this_one():
    judge(GOOD)
    with pytest.raises(AuthorityUntrusted, match="cannot take"):
        judge(GOOD, ma_id=OTHER.uuid)


@pytest.mark.parametrize("case", ["by another owner", "self-issued", "no use", "nobody"])
def test_listed_key_is_accepted_under_any_certificate(case):
    judge(REFUSED[case][0], listed(MA_KEY))


def test_listed_key_speaks_for_its_own_authority_alone():
    leaf = tls_certificate(STRANGER, MA)
    with pytest.raises(AuthorityUntrusted):
        judge(leaf, listed(MA_KEY, OTHER))
    with pytest.raises(AuthorityUntrusted):
        judge(leaf, listed(private_key("another")))
    with pytest.raises(AuthorityUntrusted):
        judge(leaf, listed(MA_KEY), OTHER.uuid)


def test_withdrawn_authority_is_refused_whichever_way_it_comes():
    judge(GOOD, listed(MA_KEY, MA, OTHER))
    for leaf in (GOOD, tls_certificate(STRANGER, MA)):
        with pytest.raises(AuthorityUntrusted, match="withdrawn"):
            judge(leaf, listed(MA_KEY, MA, MA))
