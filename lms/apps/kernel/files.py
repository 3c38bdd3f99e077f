"""Where the blobs lie: where dracut's modules masterkey and integrity look for them, in /etc/keys, root's alone.

A user's master key is not among them: dracut would take such a file for the key itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lms.apps.kernel.blobs import EncryptedKey, Master, read_evm_key
from lms.errors import EvmKeyOther, MalformedStructure
from lms.files import (
    create_file,
    ensure_directory,
    is_there,
    link_file,
    locked,
    read_regular_file,
    remove_file,
    settle_file,
)

DEFAULT_KEYS: Final = "/etc/keys"
_MAX: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Files:
    """The blobs of one machine; `records` is the directory of what we keep of applications."""

    directory: Path
    records: Path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be the only one who works on them, with nothing beside them of a run that was cut. Raises Busy."""
        with locked(self.records / "kernel"):
            for path in (self.master, *map(self.evm, Master)):
                settle_file(path)
            yield

    @property
    def master(self) -> Path:
        """The trusted master key."""
        return self.directory / f"{Master.TRUSTED.description}.blob"

    def evm(self, master: Master) -> Path:
        """The EVM key below a master key."""
        return self.directory / f"evm-{master.value}.blob"

    def evm_key(self) -> EncryptedKey | None:
        """The EVM key that is there. Raises EvmKeyOther where it is none of ours."""
        for path in filter(is_there, map(self.evm, Master)):
            try:
                return read_evm_key(read_regular_file(path, _MAX))
            except MalformedStructure:
                raise EvmKeyOther(f"cannot use '{path}': it is no EVM key below a master key of ours") from None
        return None

    def has_master(self, blob: bytes) -> bool:
        """Whether the trusted master key is this one; False where there is none. Raises EvmKeyOther."""
        found = self.read_master()
        if found not in (None, blob):
            raise EvmKeyOther(f"cannot use '{self.master}': it is another master key than the registered one")
        return found is not None

    def read_master(self) -> bytes | None:
        """The trusted master key, whichever it is."""
        return read_regular_file(self.master, _MAX).strip() if is_there(self.master) else None

    def write(self, path: Path, blob: bytes) -> None:
        """A new file."""
        ensure_directory(self.directory)
        create_file(path, blob)

    def put_aside(self, path: Path) -> Path | None:
        """Give a file a name that tells its content; the new name."""
        if not is_there(path):
            return None
        digest = hashlib.sha256(read_regular_file(path, _MAX)).hexdigest()
        aside = path.with_name(f"{path.name}.{digest[:16]}")
        link_file(path, aside)
        remove_file(path)
        return aside
