"""Machines, a token, and a machine that has archived for it."""

from tests.support.asking import chip_in_both_modes, vault_chip

__all__ = ["chip_in_both_modes", "vault_chip"]
