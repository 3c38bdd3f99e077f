"""Machines, tokens, and daemons on a bus."""

from tests.bus.conftest import bus, daemons
from tests.support.platform import (
    archived,
    archived_machine,
    child,
    machines,
    package,
    platform,
    provisioned,
    provisioned_machine,
    stranger,
    token,
)

__all__ = [
    "archived",
    "archived_machine",
    "bus",
    "child",
    "daemons",
    "machines",
    "package",
    "platform",
    "provisioned",
    "provisioned_machine",
    "stranger",
    "token",
]
