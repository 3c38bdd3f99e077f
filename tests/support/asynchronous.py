"""Tests that are coroutines, each in an event loop of its own."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine

HANGS_S = 120.0  # a test that waits longer has failed


def in_loop(test: Callable[..., Coroutine]) -> Callable[..., None]:
    """A test that runs this coroutine."""

    @functools.wraps(test)
    def run(*arguments, **named) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **named), HANGS_S))

    return run
