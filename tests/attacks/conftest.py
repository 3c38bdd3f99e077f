"""Machines, a token, and a machine that has archived for it."""

from tests.support.platform import archived, archived_machine, machines, provisioned_machine, token

__all__ = ["archived", "archived_machine", "machines", "provisioned_machine", "token"]
