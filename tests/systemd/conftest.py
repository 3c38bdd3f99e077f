"""A bus, a machine, and the programs as systemd starts them."""

from __future__ import annotations

from tests.bus.conftest import bus, daemons
from tests.support.platform import (
    archived,
    archived_machine,
    machines,
    platform,
    provisioned,
    provisioned_machine,
    token,
)

__all__ = [
    "archived",
    "archived_machine",
    "bus",
    "daemons",
    "machines",
    "platform",
    "provisioned",
    "provisioned_machine",
    "token",
]
