"""`lmsctl luks`: volumes that the recoverable key opens. Each DEVICE has a result of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from lms.apps.acts import Acts
from lms.apps.luks.checking import check
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.listing import listed
from lms.apps.luks.removing import remove
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.cli.running import acts_of
from lms.config import load_configuration
from lms.errors import BadRequest, LmsError
from lms.files import read_file
from lms.model.secret import Secret
from lms.terminal import complain, read_secret

Answer = dict[str, Any]
Verb = Callable[..., argparse.ArgumentParser]
_MAX_KEY_FILE: Final = 8 * 1024 * 1024
_PCRS: Final = 24


def add_verbs(verb: Verb) -> None:
    """Their options."""
    luks = verb("luks", "LUKS2 volumes that the recoverable key opens at boot")
    within = luks.add_subparsers(dest="act", required=True, metavar="ACT")

    def act(name: str, text: str, run: Callable[[_Work], Any]) -> argparse.ArgumentParser:
        made = verb(name, text, partial(_each, run), within)
        made.add_argument("devices", metavar="DEVICE", nargs="+", help="a block device, or a file with a LUKS2 header")
        return made

    made = act("enroll", "let the recoverable key open volumes", _enroll)
    _binding(made)
    _passphrase(made)
    _pin(made)

    act("list", "what opens volumes, and what of it is bound to this machine", _list)

    _pin(act("check", "prove that volumes open, as at boot", _check))

    made = act("reseal", "make anew what opens volumes no more, and say why", _reseal)
    _binding(made)
    made.add_argument("--without-binding", action="store_true", help="without PCRs and PIN, whatever it had")
    _passphrase(made)
    _pin(made)

    _passphrase(act("remove", "take our key slots and tokens away", _remove))


def _passphrase(made: argparse.ArgumentParser) -> None:
    given = made.add_mutually_exclusive_group()
    given.add_argument(
        "--passphrase", metavar="FILE", help="what opens them now; - is standard input; default: asked for"
    )
    given.add_argument("--key-file", metavar="FILE", help="the same, as a key file: every byte of it counts")


def _binding(made: argparse.ArgumentParser) -> None:
    made.add_argument("--pcrs", metavar="NUMBERS", help="only with these PCRs as they are now, as 7,11")
    made.add_argument("--with-pin", action="store_true", help="only with a PIN")


def _pin(made: argparse.ArgumentParser) -> None:
    made.add_argument("--pin-file", metavar="FILE", help="the PIN; - is standard input; asked for by default")


@dataclass(frozen=True)
class _Work:
    """What an act on a device is given. Secrets are asked for when they are needed."""

    arguments: argparse.Namespace
    acts: Acts
    path: Path
    directory: Path
    passphrase: Callable[[], Secret]
    pin: Callable[[], Secret]


def _each(act: Callable[[_Work], Any], arguments: argparse.Namespace) -> Answer:
    """Do it to every device. One alone that fails is an error; of several each has its own, the last exit code."""
    rows: list[Answer] = []
    for work in _works(arguments):
        try:
            found = act(work)
        except LmsError as error:
            if len(arguments.devices) == 1:
                raise
            arguments.exit_code = complain("lmsctl", error, as_json=False)
            told = {"message": str(error), "hint": error.hint} if arguments.json else {}
            found = {"error": type(error).__name__, **told}
        rows += [{"device": str(work.path), **row} for row in (found if isinstance(found, list) else [found])]
    return {"volumes": rows}


def _works(arguments: argparse.Namespace) -> Iterator[_Work]:
    config = load_configuration(arguments.config)
    acts, given = acts_of(arguments), vars(arguments)
    confirm = given.get("with_pin", False)
    pin = cache(lambda: Secret(read_secret(given["pin_file"], "PIN", confirm=confirm, option="--pin-file")))
    from_file = cache(lambda: _given_passphrase(given["passphrase"], given["key_file"]))  # - can be read once only
    for device in arguments.devices:
        asked = cache(partial(_asked_passphrase, device))
        by_file = given.get("passphrase") is not None or given.get("key_file") is not None
        passphrase = from_file if by_file else asked
        yield _Work(arguments, acts, Path(device), config.applications_directory, passphrase, pin)


def _given_passphrase(source: str | None, key_file: str | None) -> Secret:
    return Secret(read_secret(source, "") if key_file is None else read_file(Path(key_file), _MAX_KEY_FILE))


def _asked_passphrase(device: str) -> Secret:
    return Secret(read_secret(None, f"passphrase of {device}", option="--passphrase"))


def _enroll(work: _Work) -> Answer:
    given = work.arguments
    binding = _said(given)
    pin = work.pin() if binding.pin else Secret(b"")
    return enroll(work.acts, work.path, work.directory, work.passphrase, binding, pin)


def _said(given: argparse.Namespace) -> Binding:
    return Binding(_numbers(given.pcrs), given.with_pin or given.pin_file is not None)


def _numbers(text: str | None) -> tuple[int, ...]:
    words = text.split(",") if text else []
    if not all(word.isascii() and word.isdigit() and int(word) < _PCRS for word in words):
        raise BadRequest("cannot read --pcrs: numbers from 0 to 23, between them commas")
    return tuple(sorted({int(word) for word in words}))


def _list(work: _Work) -> list[Answer]:
    return listed(work.acts, work.path)


def _check(work: _Work) -> Answer:
    return check(work.acts, work.path, work.directory, work.pin)


def _reseal(work: _Work) -> Answer:
    return reseal(work.acts, work.path, work.directory, work.passphrase, work.pin, _said_anew(work.arguments))


def _said_anew(given: argparse.Namespace) -> Binding | None:
    """None where nothing is said: a file with the PIN alone says none."""
    bound = given.pcrs is not None or given.with_pin
    if bound and given.without_binding:
        raise BadRequest("cannot bind and not bind: --without-binding stands alone")
    if given.without_binding:
        return Binding()
    return _said(given) if bound else None


def _remove(work: _Work) -> Answer:
    return remove(work.acts, work.path, work.directory, work.passphrase)
