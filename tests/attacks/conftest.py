"""Machines."""

from tests.support.platform import machines

__all__ = ["machines"]
