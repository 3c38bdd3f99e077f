"""LUKS2 volumes in files, with what opens them, and a way to the service's acts without a process for each."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lms.model.secret import Secret
from lms.service.acts import ACTS, Call
from tests.support.platform import Platform

PASSPHRASE = Secret(b"the passphrase of a person")
PIN, NO_PIN = Secret(b"0815"), Secret(b"")
# Slow functions against guessing are nothing to a test.
_FAST = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")


def person() -> Secret:
    """Whoever is asked for a passphrase knows it."""
    return PASSPHRASE


def pin() -> Secret:
    """Whoever is asked for a PIN knows it."""
    return PIN


def nobody() -> Secret:
    """Nobody is there to be asked, and nobody has to be."""
    raise AssertionError("nothing has to be asked for")


def cryptsetup(*words: object, given: bytes = b"", check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run cryptsetup as a person does."""
    command = ["cryptsetup", *map(str, words)]
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def make_volume(path: Path, kind: str = "luks2", uuid: str | None = None) -> Path:
    """A new volume that the passphrase opens; of 17 MiB, which is the header and room for a sector."""
    with path.open("wb") as file:
        file.truncate(17 << 20)
    named = () if uuid is None else ("--uuid", uuid)
    fast = _FAST if kind == "luks2" else _FAST[2:]
    words = ("luksFormat", "--batch-mode", "--type", kind, *fast, *named, "--key-file", "-", path)
    cryptsetup(*words, given=PASSPHRASE.reveal())
    return path


def add_passphrase(path: Path, passphrase: Secret, existing: Secret = PASSPHRASE) -> None:
    """Another person's slot."""
    file = path.with_name("new-passphrase")
    file.write_bytes(passphrase.reveal())
    cryptsetup("luksAddKey", "--batch-mode", *_FAST, "--key-file", "-", path, file, given=existing.reveal())
    file.unlink()


def metadata(path: Path) -> dict[str, Any]:
    """Slots, tokens and what else cryptsetup says."""
    return json.loads(cryptsetup("luksDump", "--dump-json-metadata", path).stdout)


def import_token(path: Path, token: Mapping[str, Any]) -> None:
    """Another token, as whoever can write the header does."""
    cryptsetup("token", "import", "--json-file", "-", path, given=json.dumps(token).encode())


def rewrite_token(path: Path, **fields: Any) -> None:
    """The one token of a volume with other fields: nothing in a header is authenticated."""
    ((number, token),) = metadata(path)["tokens"].items()
    cryptsetup("token", "remove", "--token-id", number, path)
    import_token(path, token | fields)


def opens(path: Path, passphrase: Secret, slot: int | None = None) -> bool:
    """Whether a passphrase opens the volume."""
    where = () if slot is None else ("--key-slot", slot)
    words = ("open", "--test-passphrase", *where, "--key-file", "-", path)
    return cryptsetup(*words, given=passphrase.reveal(), check=False).returncode == 0


def blob_of(token: Mapping[str, Any]) -> bytes:
    """What a token has sealed."""
    return base64.b64decode(token["tpm2-blob"])


class Acting:
    """The acts of one platform, in this process; `before` hears of each verb before it is done."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.verbs: list[str] = []

    def __call__(self, verb: str, options, inputs=(), collected=()) -> tuple[dict[str, Any], dict[str, bytes]]:
        self.verbs.append(verb)
        call = Call(options, {word: Secret(value) for word, value in dict(inputs).items()})
        answer = ACTS[verb](call, self.platform.setting)
        return answer, {word: call.offered[word].reveal() for word in collected}
