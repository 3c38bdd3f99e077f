"""`luks list`: what opens a volume, and what of it is bound to this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lms.apps.acts import Acts, Answer
from lms.apps.luks.header import Header, slots_of
from lms.apps.luks.ours import Home, known
from lms.apps.luks.token import TYPE, Token
from lms.apps.luks.volume import Volume
from lms.errors import LmsError
from lms.model.keys import Name
from lms.terminal import printable

_NOBODY: Home = Home(0, "")


def described(slot: int, token: Token, home: Home) -> Answer:
    """A token that is written as ours are: `key` is the digits of the sealed object's Name."""
    return {
        "slot": slot,
        "kind": TYPE,
        "below": _below(token, home),
        "key": Name(token.name).digits,
        "pcrs": list(token.binding.pcrs),
        "pin": token.binding.pin,
    }


def _below(token: Token, home: Home) -> str:
    if home.has(token):
        return "the recoverable key"
    at = "a recoverable key that is not here" if token.parent.handle == home.handle else "another key"
    return f"{at} ({token.parent.handle:#x}, {token.parent.name.digits})"


def listed(acts: Acts, path: Path) -> list[Answer]:
    """Each key slot and what it is for. Needs neither passphrase nor TPM."""
    with Volume.opened(path) as volume:
        header, uuid = volume.header(), volume.uuid()
    home = _NOBODY
    with suppress(LmsError):  # a machine without its keys has volumes all the same
        home = Home.of(acts)
    return [{"uuid": uuid, **row} for row in _rows(header, home)]


def _others(slot: int, token: Mapping[str, Any]) -> Answer:
    return {"slot": slot, "kind": printable(token["type"])}


def _rows(header: Header, home: Home) -> Iterator[Answer]:
    named = set()
    for one in header.tokens.values():
        token = known(one)
        for slot in slots_of(one):
            named.add(slot)
            yield _others(slot, one) if token is None else described(slot, token, home)
    for slot in sorted(header.slots.keys() - named):
        yield {"slot": slot, "kind": "passphrase or key file"}
