"""Machines and tokens."""

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
    "child",
    "machines",
    "package",
    "platform",
    "provisioned",
    "provisioned_machine",
    "stranger",
    "token",
]
