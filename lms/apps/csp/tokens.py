"""`csp token`: a token in a PKCS#11 store, which an unpatched library opens.

A token is a wrapping key that is sealed twice, for the user and for the security officer. The library and its tool seal
it fixed to the TPM, which refuses that below a key that can move; so the service seals it, and we write it as they do.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lms.apps.acts import Acts, Answer
from lms.apps.csp.registry import Records
from lms.apps.csp.store import Store
from lms.errors import BadRequest, NotAStore, NotProvisioned
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.names import DATA, PASSWORD, PRIVATE, PUBLIC
from lms.wire.tpm.marshal import Writer

_SALT: Final = 32
_WRAPPING_KEY: Final = 32
_AUTHORISATION: Final = 32  # hexadecimal digits of a hash, as many as a TPM takes
_LABEL: Final = 32  # CK_TOKEN_INFO
# Canonical YAML: the library wants the tags. RSA-PSS is salted with as many bytes as the hash has, since TPM 1.16.
_CONFIG: Final = """---
!!map {
  ? !!str "pss-sigs-good" : !!bool "true",
  ? !!str "token-init" : !!bool "true",
}
"""


@dataclass(frozen=True, slots=True)
class _Sealed:
    """The wrapping key as one person opens it."""

    key: SealedObject
    salt: str


def add_token(
    acts: Acts, path: Path, directory: Path, label: str, user: Callable[[], Secret], officer: Callable[[], Secret]
) -> Answer:
    """Add a token to a store below the recoverable key, and have packages carry the store as it is then.

    One of this label that is there already stays, and nobody is asked. Raises NotAStore, BadRequest, Busy, and what
    stops an act.
    """
    if not 0 < len(label.encode()) <= _LABEL or not label.isprintable():
        raise BadRequest(f"cannot use this label: 1 to {_LABEL} bytes that can be printed")
    store = Store.at(path)
    with Records.of(directory) as records:
        key = _key_of(acts)
        with store.reading() as database:
            changed = not _is_there(database, store, key, label)
        if changed:
            pins = user(), officer()  # whoever types keeps nobody from the store
            with store.changing() as database:
                if not _is_there(database, store, key, label):
                    sealed = _sealed(acts, f"{store.file}:{label}", *pins)
                    _add(database, _primary(database, store, key), label, sealed)
        with store.reading() as database:
            content = database.serialize()
        changed |= records.ensure(acts, str(store.file), content)
    return {"store": str(store.file), "token": label, "changed": changed}


def _key_of(acts: Acts) -> str:
    """The digits by which a store knows the recoverable key: a serialized ESYS_TR names handle and Name."""
    status, _ = acts("status", {})
    if not status.get("key-name"):
        raise NotProvisioned("cannot use stores before the platform is provisioned")
    return bytes(Writer().u32(int(status["handle"], 16)).sized(Name.from_text(status["key-name"]))).hex()


def _primary(database: sqlite3.Connection, store: Store, key: str) -> int:
    """The number of the primary object that is this key. Raises NotAStore."""
    for number, config in database.execute("SELECT id, config FROM pobjects"):
        if key in str(config).lower():
            return int(number)
    raise NotAStore(f"cannot use '{store.file}': it has no primary object that is the recoverable key")


def _is_there(database: sqlite3.Connection, store: Store, key: str, label: str) -> bool:
    """Whether there is a token of this label below this key. Raises NotAStore where there is one below another."""
    primary = _primary(database, store, key)
    parents = {number for (number,) in database.execute("SELECT pid FROM tokens WHERE label = ?", (label,))}
    if parents - {primary}:
        raise NotAStore(f"cannot use '{store.file}': its token '{label}' is not below the recoverable key")
    return bool(parents)


def _sealed(acts: Acts, label: str, user: Secret, officer: Secret) -> tuple[_Sealed, _Sealed]:
    """The same wrapping key for both: hexadecimal digits, as the library wants it."""
    wrapping_key = secrets.token_hex(_WRAPPING_KEY).encode("ascii")
    return _seal(acts, f"{label}:user", wrapping_key, user), _seal(acts, f"{label}:so", wrapping_key, officer)


def _seal(acts: Acts, label: str, wrapping_key: bytes, pin: Secret) -> _Sealed:
    if not pin:
        raise BadRequest("cannot make a token with an empty PIN")
    salt = secrets.token_hex(_SALT)
    authorisation = hashlib.sha256(pin.reveal() + salt.encode("ascii")).hexdigest()[:_AUTHORISATION]
    options = {"application": "pkcs11", "label": label, "counted": True}
    inputs = {DATA: wrapping_key, PASSWORD: authorisation.encode("ascii")}
    _, areas = acts("seal", options, inputs, (PUBLIC, PRIVATE))
    return _Sealed(SealedObject(areas[PUBLIC], areas[PRIVATE]), salt)


def _add(database: sqlite3.Connection, parent: int, label: str, sealed: tuple[_Sealed, _Sealed]) -> None:
    token = database.execute(
        "INSERT INTO tokens (pid, label, config) VALUES (?, ?, ?)", (parent, label, _CONFIG)
    ).lastrowid
    values = [value for one in sealed for value in (one.key.public, one.key.private, one.salt)]
    database.execute(
        "INSERT INTO sealobjects (tokid, userpub, userpriv, userauthsalt, sopub, sopriv, soauthsalt)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (token, *values),
    )
