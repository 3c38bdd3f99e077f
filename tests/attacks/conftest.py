"""Machines, a token, and a machine that has archived for it."""

from tests.support.asking import chip_in_both_modes, vault_chip
from tests.support.platform import archived, archived_machine, child, machines, provisioned_machine, token

__all__ = [
    "archived",
    "archived_machine",
    "child",
    "chip_in_both_modes",
    "machines",
    "provisioned_machine",
    "token",
    "vault_chip",
]
