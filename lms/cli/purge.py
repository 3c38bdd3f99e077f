"""`lmsctl purge`: what the service left on this machine, and taking it away. No token goes, and no newest package.

It is done here, never by `lmsd`, which has to be stopped: both work on the same state directory.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from lms.apps.luks.records import unfinished
from lms.cli.running import Order
from lms.config import Configuration, drop_ins_of, load_configuration
from lms.errors import FileProblem, StillProtecting
from lms.files import files_of, is_there, locked, remove_file
from lms.names import DEFAULT_CONFIG, OWNER_AUTH
from lms.terminal import read_secret, say

Answer = dict[str, Any]
Verb = Callable[..., argparse.ArgumentParser]
_OPTIONS: Final = ("confirm", "archives", "evict", "lose")


def add_verbs(verb: Verb) -> None:
    """Its options."""
    made = verb("purge", "what the service left on this machine; with --confirm, taking it away", _purge)
    made.add_argument("--confirm", metavar="DIGITS", help="take it away: the digits that `purge` shows without this")
    made.add_argument("--archives", action="store_true", help="also the packages in `archives` before the newest one")
    made.add_argument("--evict", action="store_true", help="also the recoverable key from its handle in the TPM")
    made.add_argument("--lose", action="store_true", help="even where something depends on the key, as `lost` tells")
    made.add_argument("--owner-auth", metavar="FILE", help="with --evict: the TPM's; - is standard input")


@dataclass(frozen=True)
class _Ours:
    """What is left outside of the service's own state: root's."""

    config: Configuration
    files: tuple[Path, ...]

    @classmethod
    def of(cls, named: str | None) -> Self:
        """What a configuration names, and that itself."""
        main = Path(DEFAULT_CONFIG if named is None else named)
        files = (*files_of(drop_ins_of(main), ".toml"), main)
        return cls(load_configuration(None if named is None else main), tuple(filter(is_there, files)))

    def rows(self) -> list[Answer]:
        """As the service tells of its own."""
        config = self.config
        rooms = [("application-records", path, True) for path in self._rooms()]
        files = [("configuration", path, not self._serving()) for path in self.files]
        token = config.recovery_token
        tokens = [("token", token, False)] if is_there(token.device or token.path) else []
        kept = [(what, path, False) for what, path in self._others() if is_there(path)]
        return [{"what": what, "where": str(path), "goes": goes} for what, path, goes in rooms + files + tokens + kept]

    @contextmanager
    def held(self) -> Iterator[None]:
        """Be the only one who works on what goes. Raises Busy."""
        with ExitStack() as locks:
            for lock in (path for room in self._rooms() for path in sorted(room.rglob("lock"))):
                locks.enter_context(locked(lock.parent))
            yield

    def unfinished(self) -> list[str]:
        """Changes of volumes' headers that were begun and not ended."""
        return [f"the unfinished change of volume {uuid}" for uuid in unfinished(self.config.applications_directory)]

    def remove(self) -> None:
        """Take it away, the configuration last: it tells where all else is. Raises FileProblem."""
        for path in self._rooms():
            try:
                shutil.rmtree(path)
            except OSError as error:
                raise FileProblem(f"cannot remove '{path}': {(error.strerror or str(error)).lower()}") from None
        for path in () if self._serving() else self.files:
            remove_file(path)

    def _others(self) -> tuple[tuple[str, Path], ...]:
        return ("authority", self.config.authority.state_directory), ("station", self.config.station.state_directory)

    def _serving(self) -> bool:
        """Whether an authority or a station lives here, which has its own tables in the configuration."""
        return any(files_of(path, "") for _, path in self._others())

    def _rooms(self) -> list[Path]:
        named = (self.config.applications_directory / room for room in ("csp", "kernel", "luks"))
        return [path for path in named if is_there(path)]


def _purge(arguments: argparse.Namespace) -> Answer:
    ours = _Ours.of(arguments.config)
    with nullcontext() if arguments.confirm is None else ours.held():
        return _purged(arguments, ours)


def _purged(arguments: argparse.Namespace, ours: _Ours) -> Answer:
    begun, rows, confirmed = ours.unfinished(), ours.rows(), arguments.confirm is not None
    if begun and confirmed and not arguments.lose:
        raise StillProtecting(f"cannot purge: it would end {', '.join(begun)}")
    options = {name: value for name in _OPTIONS if (value := getattr(arguments, name)) not in (None, False)}
    options |= {"begun": "\n".join(begun)}
    source = arguments.owner_auth
    inputs = {} if source is None else {OWNER_AUTH: read_secret(source, "owner authorisation")}
    answer, _ = Order("purge", arguments.config, options, inputs, no_daemon=True).run()
    if confirmed:
        ours.remove()
    else:
        lose, ends = (" --lose", ", and ends what `lost` names") if answer["lost"] else ("", "")
        say("lmsctl", f"nothing was taken away: `lmsctl purge --confirm {answer['confirm']}{lose}` does it{ends}")
    fates = ("stays", "gone" if confirmed else "goes")
    remains = [{"what": r["what"], "where": r["where"], "fate": fates[r["goes"]]} for r in answer["remains"] + rows]
    return answer | {"remains": remains}
