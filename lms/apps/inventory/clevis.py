"""What clevis bound to a TPM: JWE in files, in their compact form, and tokens in LUKS2 headers (RFC 7516).

The protected header says which pin opens it. The pin `tpm2` has a primary key of the owner hierarchy as parent; `sss`
has other JWE within. Bytes in; bonds, nothing, or an error out.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lms.apps.inventory.bond import Bond, Kind
from lms.errors import MalformedStructure

_COMPACT: Final = re.compile(rb"\s*(eyJ[\w-]*)\.[\w-]*\.[\w-]+\.[\w-]*\.[\w-]+\s*")
_PCR: Final = re.compile("[0-9]{1,2}")
_DEEPEST: Final = 4


def read_jwe(content: bytes) -> tuple[Bond, ...]:
    """A file with one JWE of clevis; of no other JWE. Raises MalformedStructure."""
    found = _COMPACT.fullmatch(content)
    return () if found is None else tuple(_bonds(found[1].decode("ascii"), Kind.CLEVIS_JWE, _DEEPEST))


def read_clevis_token(token: Mapping[str, Any]) -> tuple[Bond, ...]:
    """A LUKS2 token of clevis, whose JWE is in its JSON form. Raises MalformedStructure."""
    jwe = token.get("jwe")
    if not isinstance(jwe, Mapping) or not isinstance(jwe.get("protected"), str):
        raise MalformedStructure("cannot read a token: its fields are not those of clevis")
    return tuple(_bonds(jwe["protected"], Kind.CLEVIS_TOKEN, _DEEPEST))


def _bonds(protected: str, kind: Kind, deep: int) -> Iterator[Bond]:
    if deep == 0:
        raise MalformedStructure("cannot read a JWE: too many are in each other")
    try:
        header = json.loads(base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4)))
        clevis = header.get("clevis", {"pin": ""})
        pin = clevis["pin"]
        if pin == "tpm2":
            numbers = _PCR.findall(str(clevis["tpm2"].get("pcr_ids", "")))
            yield Bond(kind, pcrs=tuple(sorted(map(int, set(numbers)))))
        inner = [str(one).partition(".")[0] for one in clevis["sss"]["jwe"]] if pin == "sss" else []
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MalformedStructure("cannot read a JWE: its header is damaged") from None
    for one in inner:
        yield from _bonds(one, kind, deep - 1)
