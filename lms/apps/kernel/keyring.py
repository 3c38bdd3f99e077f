"""Root's keys in the kernel, and the switch of EVM. The only door to keyctl, which takes payloads by a pipe.

keyctl knows one exit code only: what was wrong is in the words of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lms.errors import KernelLacks, KernelRefused, KeyringOccupied, ProgramNotStarted
from lms.files import read_file
from lms.model.secret import Secret
from lms.process import Ran, run_command

_RING: Final = "@u"
_NOTHING: Final = Secret(b"")
_NO_TYPE: Final = "No such device"
_NO_KEY: Final = "Required key not available"
_MODULES: Final = {"trusted": "trusted", "encrypted": "encrypted-keys"}
_HMAC: Final = 1


def takes_trusted_keys() -> bool:
    """Whether the kernel has trusted keys: it says what is wrong with this one, or that it knows none."""
    try:
        add("trusted", "lms", Secret(b"-"))
    except KernelLacks:
        return False
    except KernelRefused:
        return True
    raise AssertionError


def payload(kind: str, name: str) -> bytes | None:
    """What the kernel gives of a key; None where there is none, or no key of its kind. Raises KernelRefused."""
    found = _keyctl("search", _RING, kind, name)
    if found.code and (_NO_KEY in found.said or _NO_TYPE in found.said):
        return None
    return _done("read", name, _keyctl("pipe", _done("find", name, found).out.decode("ascii").strip())).out


def add(kind: str, name: str, given: Secret) -> None:
    """A new key. Raises KernelLacks where the kernel has none of its kind, KernelRefused."""
    _keyctl("link", _RING, "@s")  # the kernel looks for a master key from the session on; mostly that is so already
    ran = _keyctl("padd", kind, name, _RING, given=given)
    if _NO_TYPE in ran.said and _loaded_module(_MODULES[kind]):
        ran = _keyctl("padd", kind, name, _RING, given=given)
    if _NO_TYPE in ran.said:
        raise KernelLacks(f"cannot load '{name}': this kernel has no {kind} keys")
    _done("load", name, ran)


def ensure(kind: str, name: str, given: Secret, is_it: Callable[[bytes], bool]) -> bool:
    """Add a key that is not there; False where it is. Raises KeyringOccupied where that is another one."""
    found = payload(kind, name)
    if found is None:
        add(kind, name, given)
    elif not is_it(found):
        raise KeyringOccupied(f"cannot load '{name}': the kernel has another key of this name")
    return found is None


@dataclass(frozen=True, slots=True)
class Evm:
    """EVM of this kernel, at its file in securityfs."""

    path: Path = Path("/sys/kernel/security/evm")

    @property
    def enabled(self) -> bool:
        """Whether it makes and verifies HMACs; False also where there is no EVM. Raises FileProblem."""
        return self.path.exists() and bool(int(read_file(self.path, 16)) & _HMAC)

    def enable(self) -> bool:
        """Have it take its key; False where it did before. Raises KernelLacks, KernelRefused."""
        if not self.path.exists():
            raise KernelLacks(f"cannot enable EVM: this kernel has none, or '{self.path.parent}' is not mounted")
        if self.enabled:
            return False
        try:
            self.path.write_bytes(b"1")
        except OSError as error:
            raise KernelRefused(f"cannot enable EVM: the kernel says: {error.strerror}") from None
        return True


def _loaded_module(name: str) -> bool:
    with suppress(ProgramNotStarted):
        return run_command("modprobe", "--quiet", name).code == 0
    return False


def _keyctl(*words: str, given: Secret = _NOTHING) -> Ran:
    return run_command("keyctl", *words, given=given)


def _done(act: str, name: str, ran: Ran) -> Ran:
    if ran.code:
        raise KernelRefused(f"cannot {act} '{name}': keyctl says: {ran.said or ran.code}")
    return ran
