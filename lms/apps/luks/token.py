"""Tokens of type systemd-tpm2: what systemd-cryptsetup reads in a LUKS2 header, field by field (systemd 255 and later).

`tpm2-blob` is TPM2B_PRIVATE ‖ TPM2B_PUBLIC, and an encrypted seed behind them where the object was made without a TPM;
`tpm2_srk` is the parent as Esys_TR_Serialize writes it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lms.errors import MalformedStructure
from lms.model.keys import Name
from lms.model.tpm import SealedObject
from lms.wire.tpm.esys import serialized_handle
from lms.wire.tpm.foreign import foreign_name
from lms.wire.tpm.marshal import Reader, sized
from lms.wire.tpm.public import ALG_RSA, read_public

TYPE: Final = "systemd-tpm2"
_BANK: Final = "sha256"
_PCRS: Final = 24
_THEIRS: Final = frozenset({"tpm2_pubkey", "tpm2_pcrlock"})
_STRANGE: Final = "cannot read a token: its fields are not those of systemd"


@dataclass(frozen=True, slots=True)
class Parent:
    """The persistent key below which a token's object loads."""

    handle: int
    public: bytes

    @property
    def name(self) -> Name:
        """Its Name."""
        return foreign_name(self.public)


@dataclass(frozen=True, slots=True)
class Binding:
    """What opening takes beside the parent: PCRs with the values of then, and a PIN."""

    pcrs: tuple[int, ...] = ()
    pin: bool = False


@dataclass(frozen=True, slots=True)
class Token:
    """One sealed object with all that opens it; `salt` is the PIN's, empty without one."""

    key: SealedObject
    parent: Parent
    binding: Binding
    policy: bytes
    salt: bytes = b""

    @property
    def name(self) -> Name:
        """Name of the sealed object."""
        return foreign_name(self.key.public)


def read_token(token: Mapping[str, Any]) -> Token:
    """A token as a header has it. Raises MalformedStructure for all that is not as we write it.

    So it does for an object that is imported first, other banks, signed policies and shards: systemd's own.
    """
    binding, policy = read_policy(token)
    try:
        blob = Reader(_bytes(token["tpm2-blob"]))
        key = SealedObject(private=sized(blob.sized()), public=sized(blob.sized()))
        blob.end()
        foreign_name(key.public)
        salt = _bytes(token["tpm2_salt"]) if binding.pin else b""
        return Token(key, read_parent(_bytes(token["tpm2_srk"])), binding, policy, salt)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise MalformedStructure(_STRANGE) from error


def read_policy(token: Mapping[str, Any]) -> tuple[Binding, bytes]:
    """What a token says that it is bound to, and the digest of that policy, whoever made it.

    Raises MalformedStructure for other banks and signed policies.
    """
    try:
        pcrs = tuple(number for number in range(_PCRS) if number in token["tpm2-pcrs"])
        if len(pcrs) != len(token["tpm2-pcrs"]):
            raise MalformedStructure("cannot read a token: it names PCRs that there are not")
        if token["type"] != TYPE or (pcrs and token["tpm2-pcr-bank"] != _BANK) or _THEIRS & token.keys():
            raise MalformedStructure("cannot read a token: systemd made it, in a way that is not ours")
        return Binding(pcrs, bool(token.get("tpm2-pin", False))), bytes.fromhex(token["tpm2-policy-hash"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedStructure(_STRANGE) from error


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def read_parent(serialized: bytes) -> Parent:
    """The key that Esys_TR_Serialize wrote. Raises MalformedStructure."""
    reader = Reader(serialized)
    handle, _, _, public = reader.u32(), reader.sized(), reader.u32(), reader.rest()
    if serialized_handle(handle, public) != serialized:
        raise MalformedStructure("cannot read a token: its parent is not that of its Name")
    return Parent(handle, public)


def write_token(token: Token, slot: int) -> bytes:
    """JSON of a token for a key slot."""
    algorithm = "rsa" if read_public(token.parent.public).type == ALG_RSA else "ecc"
    fields: dict[str, Any] = {
        "type": TYPE,
        "keyslots": [str(slot)],
        "tpm2-blob": _text(token.key.private + token.key.public),
        "tpm2-pcrs": list(token.binding.pcrs),
        "tpm2-pcr-bank": _BANK,
        "tpm2-primary-alg": algorithm,
        "tpm2-policy-hash": token.policy.hex(),
        "tpm2-pin": token.binding.pin,
        "tpm2_srk": _text(serialized_handle(token.parent.handle, token.parent.public)),
    }
    if token.binding.pin:
        fields["tpm2_salt"] = _text(token.salt)
    return json.dumps(fields).encode("ascii")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
