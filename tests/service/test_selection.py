"""What the holder of a token refuses to release, beside a release to a genuine chip."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import BadAttributes, InnerKeyMismatch, LmsError, UntrustedSigner
from lms.model.release import ReleaseRequest
from lms.model.secret import Secret
from lms.opener import open_token
from lms.service.selection import release
from lms.wire.package_v1 import read_package
from lms.wire.tpm.credential import open_credential
from lms.wire.tpm.inner_key import read_inner_plaintext
from lms.wire.tpm.wrap import unwrap_inner, unwrap_outer
from tests.support import documents
from tests.support.documents import TOKEN, make_package, make_platform
from tests.support.platform import NOW


@pytest.fixture(scope="module")
def keys(token):
    """The owner's keys."""
    return open_token(token.document, Secret(token.password))[1]


@pytest.fixture
def asked(archived, package):
    """A request of the machine itself."""
    state = archived.state
    return ReleaseRequest(
        package=package,
        platform_id=state.platform_id,
        ek=archived.tpm.endorsement_keys()[0].public,
        srk=archived.tpm.read_public(state.srk_handle),
        signing_key=state.require_signing_key().key.public,
        now=NOW,
        trust_list=None,
        confirmed=frozenset({state.require_drsk().name}),
        highest_sequence=1,
        accepted_stale=None,
    )


@pytest.mark.parametrize("role", ["ek", "srk", "signing_key"])
def test_a_key_in_the_wrong_role_gets_nothing(asked, token, keys, role):
    """A DRSK as a destination would leave the chip; a signing key can hold nothing."""
    key = read_package(asked.package).content.migrating_keys[0]
    with pytest.raises(BadAttributes):
        release(replace(asked, **{role: key.public}), token.owner, keys)
    (released,) = release(asked, token.owner, keys).keys
    assert released.key_id == key.key_id


def test_a_package_that_nobody_confirmed_is_not_opened(asked, token, keys):
    with pytest.raises(UntrustedSigner):
        release(replace(asked, confirmed=frozenset()), token.owner, keys)
    assert release(asked, token.owner, keys)


@pytest.mark.parametrize("what", ["inner_key", "recipient", "blob"])
def test_a_blob_that_holds_something_else(archived, asked, token, keys, what):
    """Signed by the platform itself: a rooted one may sign what it likes."""
    state = archived.state
    (destination,) = state.destinations
    if what == "inner_key":
        archived.store.save(replace(state, destinations=()))
        archived.enroll()
        changed = replace(destination, inner_keys=archived.state.destinations[0].inner_keys)
        expected = LmsError
    elif what == "recipient":
        stray = replace(destination.inner_keys[0], recipient=state.srk_name)
        changed, expected = replace(destination, inner_keys=(stray,)), InnerKeyMismatch
    else:
        outer = destination.outer
        changed, expected = replace(destination, outer=replace(outer, duplicate=outer.duplicate[:-1] + b"?")), LmsError
    archived.store.save(replace(state, destinations=(changed,)))
    archived.archive()
    with pytest.raises(expected):
        release(replace(asked, package=archived.packages[-1].read_bytes()), token.owner, keys)
    assert release(asked, token.owner, keys)


# Packages made in software: what a platform signs may be anything.

_IN_SOFTWARE = make_platform()


def in_software(**changes) -> ReleaseRequest:
    """The owner of this world is asked for a package like it, `changes` to its one key."""
    whole = make_package(_IN_SOFTWARE)
    (key,) = whole.migrating_keys
    return ReleaseRequest(
        package=_IN_SOFTWARE.signed(replace(whole, migrating_keys=(replace(key, **changes),))),
        platform_id=_IN_SOFTWARE.id,
        ek=_IN_SOFTWARE.ek.public,
        srk=_IN_SOFTWARE.srk.public,
        signing_key=_IN_SOFTWARE.signing_key.public,
        now=documents.NOW,
        trust_list=None,
        confirmed=frozenset(),
        highest_sequence=None,
        accepted_stale=None,
    )


def test_among_several_blobs_the_one_for_the_token_is_opened():
    world, drsk = _IN_SOFTWARE.world, _IN_SOFTWARE.drsk
    vault, token = make_package(_IN_SOFTWARE).migrating_keys[0].blobs
    for blobs in ((vault, token), (token, vault)):
        (released,) = release(in_software(blobs=blobs), world.owner, world.keys).keys
        plaintext = open_credential(
            _IN_SOFTWARE.ek.private, _IN_SOFTWARE.ek.public, _IN_SOFTWARE.srk.name, released.inner_key
        )
        inner = read_inner_plaintext(plaintext, _IN_SOFTWARE.id, drsk.name)
        outer = unwrap_outer(_IN_SOFTWARE.srk.private, _IN_SOFTWARE.srk.public, drsk.name, released.outer)
        assert unwrap_inner(outer, drsk.name, inner) == drsk.sensitive


def test_what_is_for_somebody_else_or_another_key_is_not_released():
    world = _IN_SOFTWARE.world
    vault, _ = make_package(_IN_SOFTWARE).migrating_keys[0].blobs
    with pytest.raises(LmsError):
        release(in_software(blobs=(vault,)), world.owner, world.keys)
    other = replace(_IN_SOFTWARE.drsk, private=make_platform("other").drsk.private)
    with pytest.raises(InnerKeyMismatch, match="another key"):
        release(
            in_software(blobs=(_IN_SOFTWARE.blob(other, TOKEN, world.owner.recovery_key),)), world.owner, world.keys
        )
    assert release(in_software(), world.owner, world.keys).keys
