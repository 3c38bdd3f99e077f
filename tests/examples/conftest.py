"""A bus, a machine, and `lmsd` on it."""

from tests.bus.conftest import bus, daemons
from tests.support.platform import archived, archived_machine, machines, package, platform, provisioned_machine, token

__all__ = [
    "archived",
    "archived_machine",
    "bus",
    "daemons",
    "machines",
    "package",
    "platform",
    "provisioned_machine",
    "token",
]
