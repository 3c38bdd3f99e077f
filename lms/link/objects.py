"""The objects of a service: which interfaces live at which path, who may see them, and the standard interfaces of all.

Objects that a caller may not see do not exist for him: not by their path, not in a list, not in introspection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dbus_next import Variant

from lms.link.connection import Credentials
from lms.link.tables import Answer, Call, Interface, Method, Property, introspection
from lms.link.values import variant

PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER: Final = "org.freedesktop.DBus.ObjectManager"
_MACHINE_ID: Final = Path("/etc/machine-id")

Audience = Callable[[Credentials], bool]


class Refused(Exception):
    """A call that the rules of the bus refuse, by one of the bus's own names; it never leaves this room."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = f"org.freedesktop.DBus.Error.{name}"


@dataclass(frozen=True, slots=True)
class Exported:
    """An object: its own interfaces, and who may see it (None: everybody)."""

    interfaces: tuple[Interface, ...]
    audience: Audience | None = None

    def visible_to(self, caller: Credentials) -> bool:
        """Whether it exists for this caller."""
        return self.audience is None or self.audience(caller)


def values(interface: Interface) -> dict[str, Variant]:
    """All properties of an interface, as they are now."""
    return {name: variant(kept.type, kept.read()) for name, kept in interface.properties.items()}


class Objects:
    """All objects below `root`, which is their ObjectManager."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._exported: dict[str, Exported] = {}
        self._everywhere = (
            Interface("org.freedesktop.DBus.Introspectable", {"Introspect": Method("", "s data", self._introspect)}),
            Interface(
                "org.freedesktop.DBus.Peer",
                {"Ping": Method("", "", _ping), "GetMachineId": Method("", "s machine_uuid", _machine_id)},
            ),
        )
        self._on_objects = (
            Interface(
                PROPERTIES,
                {
                    "Get": Method("s interface_name, s property_name", "v value", self._get),
                    "GetAll": Method("s interface_name", "a{sv} properties", self._get_all),
                    "Set": Method("s interface_name, s property_name, v value", "", self._set),
                },
                signals={"PropertiesChanged": "s interface_name, a{sv} changed_properties, as invalidated_properties"},
            ),
        )
        self._on_root = (
            Interface(
                OBJECT_MANAGER,
                {"GetManagedObjects": Method("", "a{oa{sa{sv}}} objects", self._managed)},
                signals={
                    "InterfacesAdded": "o object_path, a{sa{sv}} interfaces_and_properties",
                    "InterfacesRemoved": "o object_path, as interfaces",
                },
            ),
        )

    def add(self, path: str, exported: Exported) -> None:
        """An object appears."""
        self._exported[path] = exported

    def remove(self, path: str) -> Exported:
        """An object goes."""
        return self._exported.pop(path)

    def at(self, path: str) -> Exported:
        """The object at a path. Raises KeyError."""
        return self._exported[path]

    def method(self, path: str, interface: str | None, member: str, caller: Credentials) -> Method:
        """Who answers a call; without an interface the first that has such a member. Raises Refused."""
        offered = self._offered(path, caller)
        if not offered:
            raise Refused("UnknownObject", f"cannot find the object '{path}'")
        wanted = [one for one in offered if interface in (None, one.name)]
        if not wanted:
            raise Refused("UnknownInterface", f"cannot find the interface '{interface}' on '{path}'")
        for one in wanted:
            if member in one.methods:
                return one.methods[member]
        raise Refused("UnknownMethod", f"cannot find the method '{member}' on '{path}'")

    def _offered(self, path: str, caller: Credentials) -> tuple[Interface, ...]:
        """All interfaces at a path; none where nothing is there for this caller."""
        exported = self._exported.get(path)
        if exported is not None and exported.visible_to(caller):
            on_root = self._on_root if path == self.root else ()
            return exported.interfaces + on_root + self._on_objects + self._everywhere
        return self._everywhere if any(self._children(path, caller)) else ()

    def _visible(self, caller: Credentials) -> Iterator[tuple[str, Exported]]:
        return ((path, one) for path, one in self._exported.items() if one.visible_to(caller))

    def _children(self, path: str, caller: Credentials) -> Iterator[str]:
        front = path.rstrip("/") + "/"
        return (
            other.removeprefix(front).split("/")[0] for other, _ in self._visible(caller) if other.startswith(front)
        )

    def _interface(self, call: Call, name: str) -> Interface:
        for interface in self._offered(call.path, call.caller):
            if interface.name == name:
                return interface
        raise Refused("UnknownInterface", f"cannot find the interface '{name}' on '{call.path}'")

    def _property(self, call: Call) -> Property:
        interface, name = call.body[:2]
        try:
            return self._interface(call, interface).properties[name]
        except KeyError:
            raise Refused("UnknownProperty", f"cannot find the property '{name}' of '{interface}'") from None

    async def _get(self, call: Call) -> Answer:
        kept = self._property(call)
        return Answer((variant(kept.type, kept.read()),))

    async def _get_all(self, call: Call) -> Answer:
        return Answer((values(self._interface(call, call.body[0])),))

    async def _set(self, call: Call) -> Answer:
        self._property(call)
        raise Refused("PropertyReadOnly", f"cannot set the property '{call.body[1]}'")

    async def _introspect(self, call: Call) -> Answer:
        children = sorted(set(self._children(call.path, call.caller)))
        return Answer((introspection(self._offered(call.path, call.caller), children),))

    async def _managed(self, call: Call) -> Answer:
        found: Mapping[str, Any] = {
            path: {interface.name: values(interface) for interface in one.interfaces}
            for path, one in self._visible(call.caller)
            if path != self.root
        }
        return Answer((found,))


async def _ping(_: Call) -> Answer:
    return Answer()


async def _machine_id(_: Call) -> Answer:
    try:
        return Answer((_MACHINE_ID.read_text(encoding="ascii").strip(),))
    except OSError:
        raise Refused("Failed", "cannot read the identity of this machine") from None
