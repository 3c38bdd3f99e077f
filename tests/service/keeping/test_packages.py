"""A package of thousands of keys takes its time to judge: nobody else waits for it, and it is judged by what holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from lms.errors import AuthorityBusy, NotAuthorised
from lms.model.trust import Identity, Role
from lms.service.keeping import packages
from tests.support.documents import child_key, make_platform

STRANGER = make_platform("stranger")


@contextmanager
def at_the_end_of(functions: Iterable[Callable[..., object]], act: Callable[[], object]) -> Iterator[None]:
    """Act within each run of these functions in this thread, when its work is done."""
    codes = {function.__code__ for function in functions}

    def look(frame, what, _argument):
        if what == "return" and frame.f_code in codes:
            act()

    sys.setprofile(look)
    try:
        yield
    finally:
        sys.setprofile(None)


@pytest.mark.parametrize("children", [10, pytest.param(10_000, marks=pytest.mark.slow)])
def test_others_are_served_while_a_package_is_judged(house, platform, children):
    """When its document was read, and when its blobs were opened; in one thread, where nobody lets go of the store."""
    keys = tuple(replace(child_key(platform, f"child {n}"), data=()) for n in range(children))
    document, other, heard = house.package(platform, 1, child_keys=keys), house.asker(STRANGER), []
    judging = (packages.accept_package, packages._judged)
    with at_the_end_of(judging, lambda: heard.append(other.query().packages)):
        assert house.asker(platform).upload(document).changed
    assert heard == [(), ()]
    (kept,) = house.asker(platform).query().packages
    assert kept.size == len(document)


def test_a_package_is_judged_by_the_word_that_holds_when_it_is_kept(house, platform):
    asker, document = house.asker(platform), house.package(platform, 1)
    spoken = at_the_end_of([packages.accept_package], lambda: house.keep(platform.world, house.next_list()))
    with spoken, pytest.raises(AuthorityBusy, match="trust list"):
        asker.upload(document)
    assert asker.query().packages == ()
    assert asker.upload(document).changed


def test_whoever_was_withdrawn_while_his_package_was_judged_leaves_none(house, platform):
    asker, document = house.asker(platform), house.package(platform, 1)
    withdrawn = Identity(Role.PLATFORM, platform.id)
    spoken = at_the_end_of([packages.accept_package], lambda: house.withdraw(withdrawn, platform.world))
    with spoken, pytest.raises(NotAuthorised):
        asker.upload(document)
    with house.vault.transaction() as transaction:
        assert transaction.packages(platform.id) == ()


def test_what_is_kept_of_a_withdrawn_platform_stays_marked_or_not(house, platform):
    """Nobody's word takes it: room is made where a platform archives, and this one does so no more."""
    asker = house.asker(platform)
    for number in (1, 2, 3):
        asker.upload(house.package(platform, number))
    asker.delete(str(house.kept(platform)[1].package_id))
    house.withdraw(platform.identity)
    house.later(days=1000)
    with pytest.raises(NotAuthorised):
        asker.upload(house.package(platform, 4))
    assert house.sequences(platform) == [1, 2, 3]
