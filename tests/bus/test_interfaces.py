"""The files in `dbus/` say what the live service says; and each method has a rule and an action."""

from __future__ import annotations

from contextlib import closing

import pytest
from lxml import etree

from lms.adapters.store import AuthorityDirectory
from lms.bus import verbs
from lms.bus.items import items_of
from lms.bus.rules import RULES, Rule
from lms.link.connection import Target
from lms.link.objects import OBJECT_MANAGER
from lms.link.tables import introspection
from lms.model.keys import Name
from lms.model.trust import Mode
from lms.names import ACTION_PREFIX, AUTHORITY, BUS_NAME, JOB, KEY, MANAGER, PACKAGE_OBJECT, ROOT_PATH
from lms.service.acts import ACTS
from lms.wire.tpm.public import name_of
from tests.support.asynchronous import in_loop
from tests.support.bus import POLICIES
from tests.support.daemon import Client, client
from tests.support.documents import uuid
from tests.support.migration import ADDRESS, BOTH_MODES, Office, enrolled
from tests.support.victim import Victims
from tests.support.world import Ground, World, free_port

_PARSER = etree.XMLParser(remove_blank_text=True, load_dtd=False, no_network=True)


async def live(us: Client, path: str) -> dict[str, bytes]:
    """The interfaces of an object, as it tells them itself."""
    target = Target(BUS_NAME, path, "org.freedesktop.DBus.Introspectable")
    (text,) = await us.connection.call(target, "Introspect")
    node = etree.fromstring(text.encode(), _PARSER)
    return {one.get("name"): etree.tostring(one, method="c14n") for one in node.iter("interface")}


def written(interface: str) -> bytes:
    """The interface in its file."""
    (one,) = etree.parse(str(POLICIES / f"{interface}.xml"), _PARSER).iter("interface")
    return etree.tostring(one, method="c14n")


@in_loop
async def test_the_files_say_what_the_service_says(bus, archived, daemons, token):
    daemons(archived)
    async with client(bus.address) as us:
        _, job = await us.verb("Restore", {}, {"token": token.document})
        await us.until(job, "waiting")
        (key,) = await children(us, "key")
        (package,) = await children(us, "package")
        for path, interface in ((ROOT_PATH, MANAGER), (job, JOB), (key, KEY), (package, PACKAGE_OBJECT)):
            assert written(interface) == (await live(us, path))[interface]


@pytest.fixture(**BOTH_MODES)
def authority(request, tmp_path):
    with closing(request.param(tmp_path, Office())) as made:
        yield made


def test_the_file_of_authorities_says_what_their_table_says(machines, authority):
    platform = enrolled(machines(), authority.office, authority)
    identity = authority.identity.destination
    (item,) = (item for item in items_of(platform.state) if item.interface_name == AUTHORITY)
    assert item.path == f"{ROOT_PATH}/authority/{identity.replace('-', '_')}"
    mode = authority.identity.mode.value
    assert item.values == (identity, mode, False, [ADDRESS], str(name_of(authority.identity.vault)), 1)
    (table,) = etree.fromstring(introspection((item.interface,)).encode(), _PARSER).iter("interface")
    assert written(AUTHORITY) == etree.tostring(table, method="c14n")


@pytest.fixture
def ground(bus):
    """What a machine and its authority stand on, as programs."""
    with closing(Victims()) as daemons, closing(Victims()) as authorities:
        yield Ground(bus, daemons, authorities, free_port())


@pytest.mark.parametrize("mode", Mode, ids=[mode.value for mode in Mode])
@in_loop
async def test_an_authority_tells_what_it_holds_and_when_that_changes(ground, tmp_path, mode):
    async with World(ground, tmp_path / "world", chip=mode is Mode.TPM) as world:
        for act in (world.provision, world.certify, world.enroll_authority):
            await act()
        (path,) = await children(world.us, "authority")
        assert path == f"{ROOT_PATH}/authority/{str(uuid('ma')).replace('-', '_')}"
        assert written(AUTHORITY) == (await live(world.us, path))[AUTHORITY]
        before = await world.us.properties(path, AUTHORITY)
        assert before == {
            "Id": str(uuid("ma")),
            "Mode": mode.value,
            "Combined": False,
            "Addresses": [world.address],
            "Vault": str(vault_of(world)),
            "Held": 0,
        }
        async with world.us.connection.listening(BUS_NAME, interface=OBJECT_MANAGER) as changes:
            await world.archive()
            while (change := await changes.get()).body[0] != path or change.member != "InterfacesAdded":
                pass
        assert change.body[1][AUTHORITY] == before | {"Held": 1}
        assert await world.us.properties(path, AUTHORITY) == before | {"Held": 1}


def vault_of(world: World) -> Name:
    """The Name of the authority's vault, as it keeps it itself."""
    return name_of(AuthorityDirectory(world.house.state).load().vault)


async def children(us: Client, kind: str) -> list[str]:
    """The objects of one kind."""
    target = Target(BUS_NAME, f"{ROOT_PATH}/{kind}", "org.freedesktop.DBus.Introspectable")
    (text,) = await us.connection.call(target, "Introspect")
    return [f"{target.path}/{name}" for name in etree.fromstring(text.encode(), _PARSER).xpath("node/@name")]


def test_every_method_has_a_rule_and_every_verb_an_act_and_an_action():
    methods = {
        (interface, one.get("name"))
        for interface in (MANAGER, JOB, KEY, PACKAGE_OBJECT, AUTHORITY)
        for one in etree.parse(str(POLICIES / f"{interface}.xml"), _PARSER).iter("method")
    }
    assert methods == set(RULES)
    actions = etree.parse(str(POLICIES / "org.localmigration1.policy"), _PARSER).xpath("action/@id")
    assert len(actions) == len(set(actions))
    assert {*verbs.JOBS, *verbs.QUESTIONS} == set(ACTS)
    for verb in ACTS:
        assert RULES[MANAGER, verbs.member(verb)] is Rule.POLKIT
        assert ACTION_PREFIX + verb in actions


@pytest.mark.parametrize(
    ("verb", "defaults"),
    [
        ("register", ["auth_admin", "auth_admin", "yes"]),
        ("unregister", ["auth_admin", "auth_admin", "yes"]),
        ("retrieve", ["auth_admin", "auth_admin", "yes"]),
        ("seal", ["auth_admin", "auth_admin", "yes"]),
        ("unseal", ["auth_admin"] * 3),
        ("pcrs", ["yes", "yes", "yes"]),
        ("handles", ["auth_admin"] * 3),
        ("inspect", ["yes", "yes", "yes"]),
        ("verify", ["yes", "yes", "yes"]),
        ("provision", ["auth_admin"] * 3),
        ("restore", ["auth_admin"] * 3),
    ],
)
def test_the_defaults_of_polkit_are_those_of_the_design(verb, defaults):
    policy = etree.parse(str(POLICIES / "org.localmigration1.policy"), _PARSER)
    assert policy.xpath(f"action[@id='{ACTION_PREFIX}{verb}']/defaults/*/text()") == defaults
