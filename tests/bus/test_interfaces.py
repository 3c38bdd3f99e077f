"""The files in `dbus/` say what the live service says; and each method has a rule and an action."""

from __future__ import annotations

import pytest
from lxml import etree

from lms.bus import verbs
from lms.bus.items import items_of
from lms.bus.rules import RULES, Rule
from lms.link.connection import Target
from lms.link.tables import introspection
from lms.names import ACTION_PREFIX, AUTHORITY, BUS_NAME, JOB, KEY, MANAGER, PACKAGE_OBJECT, ROOT_PATH
from lms.service.acts import ACTS
from lms.wire.tpm.public import name_of
from tests.support.asynchronous import in_loop
from tests.support.bus import POLICIES
from tests.support.daemon import Client, client
from tests.support.migration import ADDRESS, Authority, Office, enrolled

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


def test_the_file_of_authorities_says_what_their_table_says(machines, tmp_path):
    authority = Authority(tmp_path, Office())
    platform = enrolled(machines(), authority.office, authority)
    identity = authority.identity.destination
    (item,) = (item for item in items_of(platform.state) if item.interface_name == AUTHORITY)
    assert item.path == f"{ROOT_PATH}/authority/{identity.replace('-', '_')}"
    assert item.values == (identity, "software", False, [ADDRESS], str(name_of(authority.identity.vault)), 1)
    (table,) = etree.fromstring(introspection((item.interface,)).encode(), _PARSER).iter("interface")
    assert written(AUTHORITY) == etree.tostring(table, method="c14n")
    authority.close()


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
