"""`lms-agent` on a real desktop: what is shown by dunst, what a click does, and that nothing is told twice."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from lms.agent.notifications import NAME, PATH
from lms.errors import BusUnavailable
from lms.link.connection import Target
from lms.model.keys import digits
from lms.names import ROOT_PATH
from tests.support.agent import agent
from tests.support.asynchronous import in_loop
from tests.support.bus import NOBODY, owned
from tests.support.daemon import client
from tests.support.desktop import Desktop, PlainServer
from tests.support.platform import OWNER_AUTH

NEEDED = "This machine lost its keys"
STALE = "The keys' archive is stale"
WAITS = "The restore waits for approval"
RESTORING = "Restoring the keys"
NOT_RESTORED = "The keys are not restored"
FIRST_JOB = f"{ROOT_PATH}/job/1"
_POLKIT = "org.freedesktop.PolicyKit1"


@pytest.fixture
def in_need(archived, daemons, desktop):
    """The desktop of a machine that lost its keys, as its owner finds it."""
    archived.evict()
    desktop.daemon = daemons(archived)
    desktop.agent = desktop.start_agent()
    desktop.first = desktop.shown()
    return desktop


async def register(them, label: str) -> None:
    """Nobody entrusts something to the service."""
    given = {"password": b"precious", "user-password": b"my own"}
    assert (await them.act("Register", {"application": "test", "label": label}, given)).result == "done"


@in_loop
async def test_a_click_restores_the_keys_with_the_owners_approval(bus, polkitd, lost, desktop):
    ours = desktop.start_agent()
    seen = await asyncio.to_thread(desktop.shown)
    assert (seen.title, seen.actions) == (NEEDED, ("restore", "details", "later"))
    assert "This machine has another TPM than the one it was provisioned with" in seen.body
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=True, of=ours.pid) as asked:
            await asyncio.to_thread(desktop.click, "Restore now")
            *steps, seen = await asyncio.to_thread(desktop.all_until, WAITS)
        assert asked == ["org.localmigration1.restore"]
        assert {step.title for step in steps} == {RESTORING}
        assert len({step.body for step in steps} - {"An administrator has to allow it."}) > 1
        pending = lost.platform.store.load_pending()
        assert digits(pending.request_id) in seen.body
        await root.supply(FIRST_JOB, "approval", lost.office.approve(pending.document))
    end = await asyncio.to_thread(desktop.until, "The keys are restored")
    assert end.id == seen.id
    assert lost.platform.key_at() == lost.platform.state.require_drsk().name


@in_loop
async def test_a_restore_that_the_machine_began_shows_its_digits_to_who_sits_there(bus, lose, credentials, desktop):
    lost = lose(unasked=True, CREDENTIALS_DIRECTORY=credentials)
    ours = desktop.start_agent()
    seen = await asyncio.to_thread(desktop.until, WAITS)
    pending = lost.platform.store.load_pending()
    assert digits(pending.request_id) in seen.body
    assert seen.actions == ("details", "later")
    async with client(bus.address) as root:
        await root.supply(FIRST_JOB, "approval", lost.office.approve(pending.document))
        assert (await root.until(FIRST_JOB, "finished"))["Result"] == "done"
    await asyncio.to_thread(ours.until, "nothing to tell")
    assert json.loads(desktop.told.read_bytes()) == {"told": []}


@in_loop
async def test_an_agent_that_is_started_anew_shows_the_digits_again_and_the_end(bus, polkitd, lost, desktop):
    ours = desktop.start_agent()
    await asyncio.to_thread(desktop.until, NEEDED)
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=True, of=ours.pid):
            await asyncio.to_thread(desktop.click, "Restore now")
            before = await asyncio.to_thread(desktop.until, WAITS)
        assert ours.end(signal.SIGKILL) == -signal.SIGKILL
        desktop.start_agent()
        again = await asyncio.to_thread(desktop.shown)
        assert (again.title, again.body) == (before.title, before.body)
        await root.cancel(FIRST_JOB)
    end = await asyncio.to_thread(desktop.until, NOT_RESTORED)
    assert (end.body, end.actions) == ("The job was canceled.", ("restore", "later"))


@in_loop
async def test_what_no_notification_may_ask_for_is_asked_for_at_a_terminal(bus, polkitd, lose, desktop):
    lose()
    ours = desktop.start_agent()
    await asyncio.to_thread(desktop.until, NEEDED)
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=True, of=ours.pid):
            await asyncio.to_thread(desktop.click, "Restore now")
            seen = await asyncio.to_thread(desktop.until, "The restore waits for you")
        assert "At a terminal: lmsctl supply 1 owner-auth" in seen.body
        await root.supply(FIRST_JOB, "owner-auth", OWNER_AUTH.reveal())
    await asyncio.to_thread(desktop.until, WAITS)


@in_loop
async def test_what_stands_in_the_way_is_told_with_what_to_do(
    bus, polkitd, machines, archived_machine, daemons, desktop
):
    board = machines(disk_of=archived_machine)
    board.set_owner_auth()
    daemons(board)
    ours = desktop.start_agent()
    await asyncio.to_thread(desktop.until, NEEDED)
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=True, of=ours.pid):
            await asyncio.to_thread(desktop.click, "Restore now")
            seen = await asyncio.to_thread(desktop.until, NOT_RESTORED)
    assert seen.body.startswith("Cannot verify the TPM: it carries no EK certificate.\nAdd its maker's CA certificates")
    assert seen.actions == ("restore", "later")


@in_loop
async def test_who_is_not_allowed_is_told_so(bus, polkitd, in_need):
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=False, of=in_need.agent.pid) as asked:
            await asyncio.to_thread(in_need.click, "Restore now")
            seen = await asyncio.to_thread(in_need.until, NOT_RESTORED)
        assert asked == ["org.localmigration1.restore"]
        assert "polkit" in seen.body
        assert seen.actions == ("restore", "later")


@in_loop
async def test_nothing_is_told_twice_and_what_comes_again_is_told_again(bus, polkitd, archived, daemons, desktop):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        await register(them, "a password")
        ours = desktop.start_agent()
        seen = await asyncio.to_thread(desktop.shown)
        assert (seen.title, seen.actions) == (STALE, ("archive", "details", "later"))
        assert "Of your own: test 'a password'." in seen.body
        await asyncio.to_thread(ours.until, "stale, told now")
        assert ours.end() == 0
        first = json.loads(desktop.told.read_bytes())
        ours = desktop.start_agent()
        await asyncio.to_thread(ours.until, "stale, told before")
        assert ours.end() == 0
        assert json.loads(desktop.told.read_bytes()) == first
        assert (await root.act("Archive")).result == "done"
        await register(them, "another one")
        desktop.start_agent()
        seen = await asyncio.to_thread(desktop.shown)
        assert seen.title == STALE
        assert "test 'another one'" in seen.body


@in_loop
async def test_a_loss_is_told_once_whatever_became_of_a_request(bus, polkitd, lost, desktop):
    ours = desktop.start_agent()
    first = await asyncio.to_thread(desktop.until, NEEDED)
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        _, path = await root.verb("Restore")
        await asyncio.to_thread(desktop.until, WAITS)
        await root.cancel(path)
    seen = await asyncio.to_thread(desktop.until, NEEDED)  # in the place of digits that nobody may give any more
    assert seen == first
    await asyncio.to_thread(ours.until, "restore-needed, told before")
    assert ours.end() == 0
    await asyncio.to_thread(desktop.start_agent().until, "restore-needed, told before")


@in_loop
async def test_what_was_told_is_forgotten_when_all_is_well(bus, polkitd, archived, daemons, desktop):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        await register(them, "a password")
        ours = desktop.start_agent()
        await asyncio.to_thread(desktop.until, STALE)
        async with agent(bus, answers=True, of=ours.pid) as asked:
            await asyncio.to_thread(desktop.click, "Archive now")
            await asyncio.to_thread(desktop.until, "The keys are archived")
        assert asked == ["org.localmigration1.archive"]
        await register(them, "another one")
        await asyncio.to_thread(desktop.until, STALE)


@in_loop
async def test_keys_that_are_nowhere_yet_are_told(bus, provisioned, daemons, desktop):
    daemons(provisioned)
    desktop.start_agent()
    seen = await asyncio.to_thread(desktop.shown)
    assert (seen.title, seen.actions) == ("The keys are not archived yet", ("details", "later"))
    assert "Nothing keeps the keys yet: enroll a destination, then archive." in seen.body


def test_details_say_more_and_later_says_nothing(in_need):
    in_need.click("Details")
    seen = in_need.shown()
    assert (seen.title, seen.actions) == (NEEDED, ("restore", "later"))
    assert seen.body.startswith(in_need.first.body)
    assert "State: restore-needed, drsk-absent." in seen.body
    assert "Newest package: 2025-06-01" in seen.body
    in_need.click("Later")
    assert in_need.agent.end() == 0
    in_need.start_agent().until("restore-needed, told before")


def test_a_notification_server_that_comes_back_shows_what_was_to_be_seen(in_need):
    in_need.stop_dunst()
    in_need.start_dunst()
    again = in_need.shown()
    assert (again.title, again.body) == (in_need.first.title, in_need.first.body)
    in_need.click("Details")
    assert "State: restore-needed" in in_need.shown().body


def test_an_agent_that_was_there_first_waits_for_a_notification_server(bus, archived, daemons):
    archived.evict()
    daemons(archived)
    with Desktop(bus.address) as desktop:
        ours = desktop.start_agent()
        ours.until(f"cannot show '{NEEDED}' yet")
        assert not desktop.told.exists()
        desktop.start_dunst()
        assert desktop.shown().title == NEEDED


def test_a_bus_that_comes_back_is_no_news_and_clicks_work_again(bus, in_need):
    bus.stop()
    in_need.daemon.until("STATUS=the bus went away")
    bus.start()
    in_need.daemon.until("STATUS=on the bus")
    in_need.agent.until("restore-needed, told before")
    in_need.click("Restore now")
    assert "cannot ask" not in in_need.until(NOT_RESTORED).body  # lmsd answered: polkit is not there


def test_without_lmsd_a_click_says_so(in_need):
    in_need.daemon.stop()
    in_need.agent.until("lmsd went away")
    in_need.click("Restore now")
    assert "Cannot ask lmsd: it is not on the bus." in in_need.until(NOT_RESTORED).body


@in_loop
async def test_a_restore_is_followed_across_a_killed_lmsd(bus, polkitd, lost, credentials, desktop):
    ours = desktop.start_agent()
    await asyncio.to_thread(desktop.until, NEEDED)
    async with client(bus.address) as root:
        await owned(root.connection, _POLKIT)
        async with agent(bus, answers=True, of=ours.pid):
            await asyncio.to_thread(desktop.click, "Restore now")
            await asyncio.to_thread(desktop.until, WAITS)
        lost.daemon.stop(signal.SIGKILL)
        await asyncio.to_thread(ours.until, "lmsd went away")
        lost.daemon.start(CREDENTIALS_DIRECTORY=credentials).until("READY=1")
        await root.until(FIRST_JOB, "waiting")
        await root.supply(FIRST_JOB, "approval", lost.office.approve(lost.platform.store.load_pending().document))
    await asyncio.to_thread(desktop.until, "The keys are restored")


def test_an_agent_ends_with_its_session(in_need):
    in_need.log_out()
    assert in_need.agent.end(by=None) == BusUnavailable().exit_code
    assert "the bus of this session went away" in in_need.agent.said


def test_a_session_has_one_agent(in_need):
    second = in_need.start_agent()
    second.until("this session has an agent already")
    assert second.end(by=None) == 0
    in_need.click("Details")
    assert in_need.shown().title == NEEDED


@in_loop
async def test_a_click_that_is_not_the_servers_is_none(in_need):
    async with client(in_need.session, NOBODY) as liar:
        liar.connection.signal(Target("", PATH, NAME), "ActionInvoked", "us", [in_need.first.id, "restore"])
        await liar.connection.call(Target(NAME, PATH, NAME), "GetCapabilities")
    await asyncio.to_thread(in_need.click, "Details")
    assert "State: restore-needed" in (await asyncio.to_thread(in_need.shown)).body


@in_loop
async def test_a_server_without_actions_shows_the_command(bus, archived, daemons):
    archived.evict()
    daemons(archived)
    with Desktop(bus.address) as desktop:
        async with PlainServer(desktop.session) as server:
            desktop.start_agent()
            _, _, _, title, body, actions, _, lasting = await server.shown.get()
    assert (title, actions, lasting) == (NEEDED, [], 0)
    assert "At a terminal: lmsctl restore" in body


@in_loop
async def test_what_a_user_called_his_own_is_text_and_no_markup(bus, polkitd, archived, daemons, desktop):
    daemons(archived)
    async with client(bus.address) as root, client(bus.address, NOBODY) as them:
        await owned(root.connection, _POLKIT)
        await register(them, "<b>bold</b> & more")
        desktop.start_agent()
        seen = await asyncio.to_thread(desktop.shown)
    assert "test '&lt;b&gt;bold&lt;/b&gt; &amp; more'" in seen.body
