"""`lmsd` on a bus: from its start to READY, its memory when idle, and its calls, against `tests.benchmarks.echo`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from lms.link.connection import Connection, Target
from lms.link.objects import PROPERTIES
from lms.names import BUS_NAME, MANAGER, ROOT_PATH
from tests.benchmarks import echo
from tests.benchmarks.figures import Figure, Goal, of_pairs, paired
from tests.support.bus import POLICIES, PrivateBus
from tests.support.daemon import Daemon
from tests.support.migration import Authority, Office, enrolled
from tests.support.platform import Platform
from tests.support.swtpm import SoftwareTpm

_STARTS = 15
_ROUNDS = 15
_CALLS = 400  # a round, over all its connections
_READY_MS, _MEMORY_MB, _LEAST_CALLS = 250.0, 45.0, 0.8


@dataclass(frozen=True)
class _Call:
    """A call to one of the two services, whose answer costs nothing to find."""

    target: Target
    member: str
    signature: str
    body: tuple[str, ...]


_GET_OURS = _Call(Target(BUS_NAME, ROOT_PATH, PROPERTIES), "Get", "ss", (MANAGER, "State"))
_GET_PEER = _Call(Target(echo.NAME, echo.PATH, PROPERTIES), "Get", "ss", (echo.NAME, "State"))
_ECHO = _Call(Target(echo.NAME, echo.PATH, echo.NAME), "Echo", "s", ("unprovisioned",))


def _resident_mb(daemon: Daemon) -> float:
    lines = Path(f"/proc/{daemon.pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def _start(daemon: Daemon) -> tuple[float, float]:
    """Milliseconds until READY, and megabytes then; it is ended again."""
    began = time.perf_counter()
    daemon.start().until("READY=1")
    taken = (time.perf_counter() - began) * 1000
    memory = _resident_mb(daemon)
    daemon.stop()
    return taken, memory


def _starts(ours: Daemon, peer: Daemon) -> Iterator[Figure]:
    _start(ours), _start(peer)  # compiles what is not compiled yet
    rounds = [(_start(ours), _start(peer)) for _ in range(_STARTS)]
    ready, memory = ([(mine[i], theirs[i]) for mine, theirs in rounds] for i in (0, 1))
    yield of_pairs("lmsd: start to READY / bare echo service", "ms", ready, Goal("ours", at_most=_READY_MS))
    yield of_pairs("lmsd: idle memory / bare echo service", "MB", memory, Goal("ours", at_most=_MEMORY_MB))


def _provisioned(address: str, peer: Daemon) -> Figure:
    """The memory of one that has an owner, a trust list and a package at an authority."""
    with TemporaryDirectory(prefix="lms-benchmark-") as folder, Platform(Path(folder) / "machine") as machine:
        authority = Authority(Path(folder), Office())
        enrolled(machine, authority.office, authority)
        authority.close()
        machine.let_go()
        ours = Daemon(machine.write_config(bus=f'"{address}"'))
        rounds = [(_start(ours)[1], _start(peer)[1]) for _ in range(_STARTS)]
        ours.remove()
    return of_pairs("lmsd, provisioned: idle memory / bare echo service", "MB", rounds)


async def _rate(connections: list[Connection], call: _Call) -> float:
    """Calls per second; each connection makes one call after the other."""
    each = _CALLS // len(connections)

    async def go_on(connection: Connection) -> None:
        for _ in range(each):
            await connection.call(call.target, call.member, call.signature, *call.body)

    began = time.perf_counter()
    await asyncio.gather(*map(go_on, connections))
    return each * len(connections) / (time.perf_counter() - began)


def _calls(address: str, connections: int, peer: _Call, named: str) -> Figure:
    with asyncio.Runner() as runner:

        async def opened(closing: AsyncExitStack) -> list[Connection]:
            return [await closing.enter_async_context(await Connection.open(address)) for _ in range(connections)]

        closing = AsyncExitStack()
        through = runner.run(opened(closing))
        for call in (_GET_OURS, peer):
            runner.run(_rate(through, call))  # who calls is asked once
        figure = paired(
            f"lmsd: property read, {connections} connection(s) / {named}",
            "calls/s",
            lambda: runner.run(_rate(through, _GET_OURS)),
            lambda: runner.run(_rate(through, peer)),
            _ROUNDS,
            Goal("ratio", at_least=_LEAST_CALLS),
        )
        runner.run(closing.aclose())
    return figure


def figures() -> Iterator[Figure]:
    """Starts, memory and calls."""
    with ExitStack() as closing:
        folder = Path(closing.enter_context(TemporaryDirectory(prefix="lms-benchmark-")))
        bus = closing.enter_context(PrivateBus(POLICIES / "org.localmigration1.conf"))
        tpm = SoftwareTpm(folder / "tpm").start()
        closing.callback(tpm.remove)
        (folder / "state").mkdir(mode=0o700)
        config = folder / "lms.toml"
        config.write_text(f'tcti = "{tpm.tcti}"\nstate_directory = "{folder}/state"\nbus = "{bus.address}"\n')
        ours, peer = Daemon(config), Daemon(config, "tests.benchmarks.echo")
        closing.callback(ours.remove)
        closing.callback(peer.remove)
        yield from _starts(ours, peer)
        yield _provisioned(bus.address, peer)
        for daemon in (ours, peer):
            daemon.start().until("READY=1")
        for connections in (1, 20):
            yield _calls(bus.address, connections, _ECHO, "bare Echo")
            yield _calls(bus.address, connections, _GET_PEER, "bare property read")
