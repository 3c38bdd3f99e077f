"""The peer of `lmsd` on a bus: a bare service of dbus-next's high level, with one method and one property.

Like `lmsd` it is started with --config FILE and tells systemd when it is ready.
"""

import asyncio
import sys
import tomllib
from pathlib import Path

from dbus_next.aio import MessageBus
from dbus_next.constants import PropertyAccess
from dbus_next.service import ServiceInterface, dbus_property, method
from systemd.daemon import notify

NAME = "org.example.Echo"
PATH = "/org/example/Echo"


class Echo(ServiceInterface):
    """Says what it hears. Annotations are D-Bus types here: dbus-next reads them."""

    def __init__(self) -> None:
        super().__init__(NAME)

    @method()
    def Echo(self, text: "s") -> "s":  # noqa: F821
        return text

    @dbus_property(access=PropertyAccess.READ)
    def State(self) -> "s":  # noqa: F821
        return "unprovisioned"


async def main(config: Path) -> None:
    """Serve until killed."""
    bus = await MessageBus(bus_address=tomllib.loads(config.read_text())["bus"]).connect()
    bus.export(PATH, Echo())
    await bus.request_name(NAME)
    notify("READY=1")
    await bus.wait_for_disconnect()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[sys.argv.index("--config") + 1])))
