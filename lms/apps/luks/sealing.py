"""What systemd seals, how it binds that, and how it is opened: as systemd-cryptenroll does it, below our key.

The passphrase of the key slot is the base64 text of 32 sealed bytes. The policy is PolicyPCR, then PolicyAuthValue
where there is a PIN; without either it is a digest of zeros, which every policy session has. A PIN is salted by PBKDF2
and hashed once more (systemd: tpm2_util_pbkdf2_hmac_sha256, tpm2_get_pin_auth).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from typing import Final

from lms.apps.acts import Acts
from lms.apps.luks.registry import APPLICATION
from lms.apps.luks.token import Binding, Parent, Token
from lms.errors import BadRequest
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.names import DATA, PASSWORD, PRIVATE, PUBLIC
from lms.wire.tpm.policy import EMPTY, auth_value, pcrs

_SECRET_SIZE: Final = 32
_SALT_SIZE: Final = 32
_ITERATIONS: Final = 10000


def _authorisation(pin: Secret, salt: bytes) -> bytes:
    """The authorisation of the sealed object; a TPM takes zeros at its end for none."""
    salted = hashlib.pbkdf2_hmac("sha256", pin.reveal(), salt, _ITERATIONS)
    return hashlib.sha256(base64.b64encode(salted)).digest().rstrip(b"\0")


def _passphrase(sealed: bytes) -> Secret:
    return Secret(base64.b64encode(sealed))


def _listed(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


def policy_of(acts: Acts, binding: Binding) -> bytes:
    """The digest of what opening takes, with the PCRs as they are now. Raises the TPM's errors."""
    policy = EMPTY
    if binding.pcrs:
        answer, _ = acts("pcrs", {"pcrs": _listed(binding.pcrs)})
        policy = pcrs({number: bytes.fromhex(answer["values"][str(number)]) for number in binding.pcrs})
    return auth_value(policy) if binding.pin else policy


def seal_passphrase(acts: Acts, label: str, binding: Binding, pin: Secret) -> tuple[Token, Secret]:
    """A new passphrase and the token that opens it; its object is registered under the label. Raises BadRequest."""
    if binding.pin and not re.fullmatch(rb"[^\0-\x1f]+", pin.reveal()):
        raise BadRequest("cannot use this PIN: it is empty, or has characters that nobody types at boot")
    secret, policy = secrets.token_bytes(_SECRET_SIZE), policy_of(acts, binding)
    salt = secrets.token_bytes(_SALT_SIZE) if binding.pin else b""
    inputs = {DATA: secret} | ({PASSWORD: _authorisation(pin, salt)} if binding.pin else {})
    options = {"application": APPLICATION, "label": label, "policy": policy.hex()}
    answer, areas = acts("seal", options, inputs, (PUBLIC, PRIVATE))
    parent = Parent(int(answer["handle"], 16), base64.b64decode(answer["parent-public"]))
    key = SealedObject(public=areas[PUBLIC], private=areas[PRIVATE])
    return Token(key, parent, binding, policy, salt), _passphrase(secret)


def unseal_passphrase(acts: Acts, token: Token, pin: Secret) -> Secret:
    """The passphrase of a token. Raises PcrsDiffer, AuthFailed, BlobRefused and the TPM's errors."""
    options = {"pcrs": _listed(token.binding.pcrs)} if token.binding.pcrs else {}
    inputs = {PUBLIC: token.key.public, PRIVATE: token.key.private}
    if token.binding.pin:
        inputs[PASSWORD] = _authorisation(pin, token.salt)
    _, opened = acts("unseal", options, inputs, (DATA,))
    return _passphrase(opened[DATA])
