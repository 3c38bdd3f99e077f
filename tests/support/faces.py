"""The two faces of one act: what `lmsctl` says of a refusal, and what a job or a method on the bus says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lms.errors import LmsError
from lms.link.objects import PROPERTIES
from lms.model.jobs import JobState
from lms.names import BUS_NAME
from tests.support.daemon import Client
from tests.support.platform import lmsctl


@dataclass(frozen=True)
class Order:
    """One act: `given` are documents and secrets by their words, `files` what `lmsctl` alone wants to write to."""

    verb: str
    options: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, bytes] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """What a person or a program is told."""

    error: str
    message: str
    hint: str


def _words(order: Order, directory: Path) -> list[object]:
    words: list[object] = [order.verb]
    for name, value in order.options.items():
        if name == "destination":
            words.append(value)
        elif value is True:
            words.append(f"--{name}")
        else:
            words += [f"--{name}", value]
    for word, content in order.given.items():
        path = directory / word
        path.write_bytes(content)
        words += [f"--{word}", path]
    for name, file in order.files.items():
        (directory / file).unlink(missing_ok=True)
        words += [f"--{name}", directory / file]
    return words


async def by_lmsctl(config: Path, order: Order, directory: Path) -> tuple[int, Refusal]:
    """Exit code, and what stands on stderr and in the object of `--json` alike."""
    said = await asyncio.to_thread(lmsctl, *_words(order, directory), config=config)
    assert said.exit_code, said
    told = said.json
    assert told.keys() == {"error", "message", "hint"}
    assert said.stderr == f"lmsctl: {told['message']}\nlmsctl: hint: {told['hint']}\n"
    return said.exit_code, Refusal(told["error"], told["message"], told["hint"])


async def by_bus(us: Client, order: Order) -> Refusal:
    """What the method says, or the job when it has ended or asks again; one that asks is canceled."""
    try:
        _, path = await us.verb(order.verb.capitalize(), order.options, order.given)
    except LmsError as error:
        return Refusal(type(error).__name__, str(error), error.hint)
    job = await settled(us, path)
    if job["State"] == JobState.WAITING.value:
        await us.cancel(path)
    return Refusal(job["Error"], job["Message"], job["Hint"])


async def settled(us: Client, path: str) -> Mapping[str, Any]:
    """The properties of a job when it is finished, or waits."""
    async with us.connection.listening(BUS_NAME, interface=PROPERTIES, path=path) as changes:
        job = await us.job(path)
        while job["State"] not in (JobState.FINISHED.value, JobState.WAITING.value):
            job |= (await changes.get()).body[1]
        return job


async def done(us: Client, order: Order) -> Mapping[str, Any]:
    """The answer of an act that succeeds."""
    _, path = await us.verb(order.verb.capitalize(), order.options, order.given)
    job = await settled(us, path)
    assert job["Result"] == "done", (job["Error"], job["Message"], job["Waiting"])
    answer: Mapping[str, Any] = job["Answer"]
    return answer
