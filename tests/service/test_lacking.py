"""`packages` says what the newest package does not have, as that package itself tells."""

from __future__ import annotations

from lms.model.packages import SYSTEM
from lms.model.registered import ROOT, Caller
from lms.service.acts import ACTS
from lms.service.acts.call import Call
from tests.support.acts import act


def lacks(platform, caller: Caller = ROOT) -> list[tuple[str, str, str]] | None:
    """Owner, application and label of each entry; None where nothing is said."""
    answer = ACTS["packages"](Call({}, {}, caller=caller), platform.setting)
    rows = answer.get("lacks")
    return None if rows is None else [(one["owner"], one["application"], one["label"]) for one in rows]


def test_what_was_registered_since_the_newest_package_is_told_to_whom_it_belongs(archived):
    entry = {"application": "app", "label": "old"}
    act(archived, "register", entry, password=b"of old")
    assert lacks(archived) == [(SYSTEM, "app", "old")]
    archived.archive()
    assert lacks(archived) is None
    act(archived, "register", entry, password=b"of now")
    act(archived, "register", entry | {"label": "new"}, data=b"of now")
    assert lacks(archived) == [(SYSTEM, "app", "old"), (SYSTEM, "app", "new")], "what was replaced is lacking, too"
    assert lacks(archived, Caller(1000, "anna")) == []
    act(archived, "unregister", entry)
    assert lacks(archived) == [(SYSTEM, "app", "new")]


def test_without_the_newest_package_nobody_can_say(archived):
    older = archived.packages[-1].read_bytes()
    archived.archive()
    act(archived, "register", {"application": "app", "label": "new"}, data=b"of now")
    for document in (older, b"no package"):
        archived.store.save_package(document)
        assert lacks(archived) is None
