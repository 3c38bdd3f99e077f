"""`lms.ports.PlatformStore` as a directory: `state.json` and `package.xml`, each replaced wholly; `items/DIGEST`.

A ciphertext is named by its SHA-256: it is written before the state names it, and removed after the state
forgot it, so a crash leaves at most a file that nobody needs. What is put aside lies below `before`.

Root works on the directory of another user, too: no link in it is followed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from lms.adapters.store.aside import is_anything_aside, put_aside
from lms.adapters.store.record import load_record
from lms.adapters.store.remains import remains, remove_remains
from lms.errors import CiphertextLost, FileProblem
from lms.files import ensure_directory, inside, read_regular_file, remove_file, write_file
from lms.model.platform import PendingRestore, PlatformState
from lms.names import ITEMS, STATE
from lms.wire.document import MAX_PACKAGE, MIB
from lms.wire.record import write_record

_MAX_STATE: Final = 16 * MIB


class StateDirectory:
    """The state directory of a platform, mode 0700; the signing key's authorisation lies in it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        ensure_directory(directory)

    @property
    def _state(self) -> Path:
        return self._directory / STATE

    @property
    def _package(self) -> Path:
        return self._directory / "package.xml"

    def load(self) -> PlatformState | None:
        """The state, or None on a platform that has none. Raises StateDamaged."""
        return load_record(PlatformState, self._state, _MAX_STATE)

    def save(self, state: PlatformState) -> None:
        """Replace the state, wholly or not at all."""
        write_file(self._state, write_record(state))

    def put_aside(self) -> None:
        """Take the platform's files out of the way; nothing is deleted."""
        state = self.load()
        if state is not None:
            put_aside(self._directory, state.platform_id)

    def has_aside(self) -> bool:
        """Whether a platform was put aside here."""
        return is_anything_aside(self._directory)

    @property
    def _pending(self) -> Path:
        return self._directory / "restore.json"

    def load_pending(self) -> PendingRestore | None:
        """The restore request on its way, or None."""
        return load_record(PendingRestore, self._pending, _MAX_STATE)

    def save_pending(self, pending: PendingRestore | None) -> None:
        """Replace the restore request on its way, or forget it."""
        if pending is None:
            remove_file(self._pending)
        else:
            write_file(self._pending, write_record(pending))

    @property
    def _items(self) -> Path:
        return self._directory / ITEMS

    def keep_ciphertext(self, ciphertext: bytes) -> bytes:
        """Keep the ciphertext of an item; its SHA-256."""
        digest = hashlib.sha256(ciphertext).digest()
        ensure_directory(self._items)
        with inside(self._directory, ITEMS) as items:
            write_file(items / digest.hex(), ciphertext)
        return digest

    def load_ciphertext(self, digest: bytes) -> bytes:
        """A ciphertext that the state names. Raises CiphertextLost where it is gone or altered."""
        try:
            with inside(self._directory, ITEMS) as items:
                ciphertext = read_regular_file(items / digest.hex(), MAX_PACKAGE, links=False)
        except FileProblem as error:
            raise CiphertextLost(str(error)) from None
        if hashlib.sha256(ciphertext).digest() != digest:
            raise CiphertextLost(f"cannot use '{self._items / digest.hex()}': it was altered")
        return ciphertext

    def sweep(self) -> None:
        """Remove the ciphertexts that the state does not name: forgotten ones, and what a crash left."""
        if not os.path.lexists(self._items):
            return
        state = self.load()
        named = set() if state is None else {digest.hex() for digest in state.registry.digests}
        with inside(self._directory, ITEMS) as items:
            for file in items.iterdir():
                if file.name not in named:
                    remove_file(file)

    def save_package(self, document: bytes) -> None:
        """Replace the newest package."""
        write_file(self._package, document)

    def remains(self) -> tuple[str, ...]:
        """The paths of what a platform that is given up leaves, without its newest package."""
        return tuple(map(str, remains(self._directory)))

    def purge(self) -> None:
        """Remove that, the state last."""
        remove_remains(self._directory)

    def load_package(self) -> bytes | None:
        """The newest package."""
        if not os.path.lexists(self._package):
            return None
        return read_regular_file(self._package, MAX_PACKAGE, links=False)
