"""`Volume`: one LUKS2 header on a device or in a file, as cryptsetup works on it. The only door to that program.

It is opened once, and every cryptsetup is given that descriptor: a file that is exchanged meanwhile leads nobody to
another volume. Passphrases pass by descriptor, too. cryptsetup writes metadata twice, one copy after the other, and a
slot before the metadata that name it: cut anywhere, the header is the one from before or the one from after.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from lms.apps.luks.header import MAGICS, Header, read_header
from lms.errors import CryptsetupFailed, FileProblem, HeaderDamaged, NotLuks2, PassphraseRefused
from lms.files import read_file, sync_file
from lms.model.secret import Secret
from lms.process import Ran, run_command
from lms.terminal import printable

_REFUSED: Final = 2
_MAX_HEADER: Final = 256 * 1024 * 1024
# Where the second copy of the metadata may begin (LUKS2 On-Disk Format, 2.2).
_SECONDS: Final = tuple(0x4000 << step for step in range(9))


@dataclass(frozen=True, slots=True)
class Volume:
    """`path` names it to people, `descriptor` is what it is; each cryptsetup holds `kept` open as long as it runs."""

    path: Path
    descriptor: int
    kept: tuple[int, ...] = ()

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[Volume]:
        """What is at a path now. Raises FileProblem."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(path, error) from None
        try:
            yield cls(path, descriptor)
        finally:
            os.close(descriptor)

    @property
    def _device(self) -> str:
        return f"/dev/fd/{self.descriptor}"

    def header(self) -> Header:
        """What stands in it now. Raises NotLuks2, HeaderDamaged, VolumeReencrypting, FileProblem."""
        if self._run("isLuks", "--type", "luks2", self._device).code:
            raise self._what_it_is()
        return read_header(self._done("luksDump", "--dump-json-metadata", self._device).out)

    def _what_it_is(self) -> Exception:
        """Why it is no LUKS2 volume."""
        try:
            damaged = self._has_magic()
        except OSError as error:
            return _unreadable(self.path, error)
        if not self._run("isLuks", "--type", "luks1", self._device).code:
            return NotLuks2(f"cannot use '{self.path}': it is of LUKS1, which has no tokens")
        if damaged:
            return HeaderDamaged(f"cannot use '{self.path}': both copies of its LUKS2 header are damaged")
        return NotLuks2(f"cannot use '{self.path}': it has no LUKS2 header")

    def _has_magic(self) -> bool:
        """Whether a copy of LUKS2 metadata begins somewhere."""
        return any(os.pread(self.descriptor, len(MAGICS[0]), at) in MAGICS for at in (0, *_SECONDS))

    def uuid(self) -> str:
        """Its UUID. Raises HeaderDamaged where it is none that could name a file."""
        uuid = self._done("luksUUID", self._device).out.decode("utf-8", "replace").strip()
        if not re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid):
            raise HeaderDamaged(f"cannot use '{self.path}': its UUID is none")
        return uuid

    def backup(self, file: Path) -> bytes:
        """The header's bytes, also in a new file, which is on the disk when this returns."""
        file.unlink(missing_ok=True)
        self._done("luksHeaderBackup", self._device, "--header-backup-file", file)
        sync_file(file)
        return read_file(file, _MAX_HEADER)

    def restore(self, file: Path) -> None:
        """Write the header anew as it is in a file."""
        self._done("luksHeaderRestore", "--batch-mode", self._device, "--header-backup-file", file)

    def opens(self, slot: int, passphrase: Secret) -> bool:
        """Whether a slot opens: nothing is mapped."""
        words = ("open", "--test-passphrase", "--key-slot", str(slot), "--key-file", passphrase, self._device)
        ran = self._run("--disable-external-tokens", *words)
        if ran.code not in (0, _REFUSED):
            raise self._failed("open", ran)
        return ran.code == 0

    def add_key(self, slot: int, iterations: int, existing: Secret, new: Secret) -> None:
        """Put a random passphrase into a free slot, behind PBKDF2 with so many iterations. Raises PassphraseRefused."""
        how = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", str(iterations), "--new-key-slot", str(slot))
        self._done("luksAddKey", "--batch-mode", *how, "--key-file", existing, self._device, new)

    def kill_slot(self, slot: int) -> None:
        """Destroy a key slot, and take it out of its tokens."""
        self._done("luksKillSlot", "--batch-mode", self._device, str(slot))

    def import_token(self, number: int, token: bytes) -> None:
        """Write a token, JSON."""
        self._done("token", "import", "--token-id", str(number), "--json-file", Secret(token), self._device)

    def remove_token(self, number: int) -> None:
        """Remove a token."""
        self._done("token", "remove", "--token-id", str(number), self._device)

    def _run(self, *words: Any) -> Ran:
        spelled = (w if isinstance(w, Secret) else str(w) for w in words)
        ran = run_command("cryptsetup", *spelled, kept=(self.descriptor, *self.kept))
        return replace(ran, said=re.sub(rf"{self._device}\b", lambda _: str(self.path), ran.said))

    def _done(self, *words: Any) -> Ran:
        ran = self._run(*words)
        if ran.code == _REFUSED:
            raise PassphraseRefused(f"cannot open '{self.path}': no key slot has this passphrase")
        if ran.code:
            raise self._failed(str(words[0]), ran)
        return ran

    def _failed(self, action: str, ran: Ran) -> CryptsetupFailed:
        return CryptsetupFailed(f"cannot {action} '{self.path}': cryptsetup says: {printable(ran.said) or ran.code}")


def _unreadable(path: Path, error: OSError) -> FileProblem:
    return FileProblem(f"cannot read '{path}': {(error.strerror or str(error)).lower()}")
