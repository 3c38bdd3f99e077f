"""The act `purge`: it shows what is left, and takes the platform away for its digits, never the newest package."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.errors import OwnerAuthFailed, PurgeUnconfirmed, StillProtecting
from lms.model.keys import DRSK_HANDLE
from lms.model.registered import Caller
from tests.support.acts import act, call_of, run
from tests.support.platform import OWNER_AUTH

ANNA = Caller(1000, "anna")
_NINE = 9


def shown(platform, options=None, boot=None) -> dict:
    """What would go and what would stay; nothing is confirmed."""
    return act(platform, "purge", options or {}, boot)


def rows(answer) -> set[tuple[str, bool]]:
    """What is left, and whether it goes."""
    return {(row["what"], row["goes"]) for row in answer["remains"]}


def purge(platform, boot=None, **options) -> None:
    """Confirm what is shown."""
    digits = shown(platform)["confirm"]
    act(platform, "purge", {"confirm": digits, **options}, boot, owner_auth=OWNER_AUTH.reveal())


def register(platform, label: str) -> None:
    act(platform, "register", {"application": "luks", "label": label}, password=b"a passphrase")


def test_what_is_shown_stays(archived):
    before = archived.state
    answer = shown(archived)
    assert (answer["platform"], answer["lost"]) == (str(before.platform_id), [])
    assert rows(answer) == {
        ("state", True),
        ("destination", False),
        ("newest-package", False),
        ("recoverable-key", False),
        ("storage-root-key", False),
    }
    assert archived.state == before


def test_the_state_goes_for_its_digits_and_what_opens_the_keys_stays(archived):
    name, packages = archived.key_at(), archived.packages
    with pytest.raises(PurgeUnconfirmed):
        act(archived, "purge", {"confirm": "ABCD-EFGH-IJKL-MNOP"})
    assert archived.state.drsk is not None
    purge(archived)
    assert archived.store.load() is None
    assert (archived.key_at(), archived.packages) == (name, packages)
    assert shown(archived)["platform"] is None


def test_the_key_leaves_its_handle_where_that_is_said_and_allowed(archived):
    assert ("recoverable-key", True) in rows(shown(archived, {"evict": True}))
    digits = shown(archived)["confirm"]
    with pytest.raises(OwnerAuthFailed):
        act(archived, "purge", {"confirm": digits, "evict": True}, owner_auth=b"guessed")
    assert archived.key_at() == archived.state.require_drsk().name
    purge(archived, evict=True)
    assert archived.key_at() is None
    assert archived.store.load() is None


def test_another_programs_key_is_not_taken_for_ours(archived):
    archived.evict()
    foreign = archived.place_foreign_key()
    assert not {"recoverable-key"} & {what for what, _ in rows(shown(archived))}
    purge(archived, evict=True)
    assert archived.key_at() == foreign


def test_what_hangs_on_the_key_is_named_and_lost_only_knowingly(archived, child):
    register(archived, "disk")
    options = {"application": "mail", "label": "account"}
    secrets = {"public": child.public, "private": child.private}
    run(archived, "register", call_of(options, caller=ANNA, **secrets))
    lost = shown(archived)["lost"]
    assert sorted(lost) == ["luks disk", f"mail account of {ANNA.owner}"]
    with pytest.raises(StillProtecting, match=f"it would end {', '.join(lost)}"):
        purge(archived)
    assert archived.state.registry.entries
    purge(archived, lose=True)
    assert archived.store.load() is None


def test_a_long_list_is_told_by_its_number(archived):
    for number in range(_NINE):
        register(archived, f"disk{number}")
    with pytest.raises(StillProtecting, match=r"[0-7] and 1 more$"):
        purge(archived)
    assert len(shown(archived)["lost"]) == _NINE


def test_a_key_that_no_package_has_is_lost_with_its_platform(provisioned):
    answer = shown(provisioned, {"archives": True})
    assert answer["lost"] == ["the recoverable key itself, which no package has"]
    assert rows(answer) == {("state", True), ("recoverable-key", False), ("storage-root-key", False)}
    with pytest.raises(StillProtecting):
        purge(provisioned, archives=True)
    purge(provisioned, archives=True, lose=True)
    assert provisioned.store.load() is None


def test_where_the_key_was_never_made_nothing_is_lost(provisioned):
    provisioned.evict()
    provisioned.store.save(replace(provisioned.state, drsk=None))
    assert shown(provisioned)["lost"] == []
    assert rows(shown(provisioned, {"evict": True})) == {("state", True), ("storage-root-key", False)}
    purge(provisioned, evict=True)
    assert provisioned.store.load() is None


def test_older_packages_go_only_where_the_newest_one_lies(archived):
    oldest = archived.packages[0]
    archived.archive()
    newest = archived.packages[-1]
    assert ("older-package", False) in rows(shown(archived))
    assert ("older-package", True) in rows(shown(archived, {"archives": True}))
    kept = newest.read_bytes()
    newest.unlink()
    assert ("older-package", False) in rows(shown(archived, {"archives": True}))
    state = archived.state
    purge(archived, archives=True)
    assert archived.packages == [oldest]
    archived.store.save(state)
    newest.write_bytes(kept)
    purge(archived, archives=True)
    assert archived.packages == [newest]


def test_early_boot_hears_of_no_key_any_more_and_its_package_stays(archived, tmp_path):
    boot = tmp_path / "boot"
    act(archived, "archive", boot=boot)
    assert {("recovery-facts", True), ("newest-package", False)} <= rows(shown(archived, boot=boot))
    there = {path.name for path in boot.iterdir()}
    purge(archived, boot)
    gone = there - {path.name for path in boot.iterdir()}
    assert len(gone) == 1
    assert rows(shown(archived, boot=boot)) == {("newest-package", False)}


def test_a_machine_whose_tpm_was_cleared_or_is_gone_is_purged_all_the_same(archived):
    archived.clear()
    keys = {"recoverable-key", "storage-root-key"}
    assert not keys & {what for what, _ in rows(shown(archived, {"evict": True}))}
    archived.let_go()
    archived.machine.stop()
    assert not keys & {what for what, _ in rows(shown(archived))}
    purge(archived)
    assert archived.store.load() is None


def test_on_a_machine_that_never_was_one_there_is_nothing(platform):
    answer = shown(platform)
    assert (answer["platform"], answer["lost"], answer["remains"]) == (None, [], [])
    purge(platform, archives=True, evict=True)
    assert platform.key_at(DRSK_HANDLE) is None
