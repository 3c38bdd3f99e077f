"""The files of a container: a TSS2 PRIVATE KEY, and beside it, in FILE.crt, the certificates of its key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from lms.apps.csp.certificates import MAX_CERTIFICATES, Certificates, read_certificates
from lms.errors import BadRequest, FileProblem, MalformedStructure, NotAContainer
from lms.files import create_file, is_directory, is_there, read_regular_file, resolved, settle_file, write_file
from lms.model.tpm import SealedObject
from lms.wire.tpm.key_file import KeyFile, read_tss2_pem, tss2_pem, tss2_private_key

_CERTIFICATE: Final = ".crt"
_MAX_KEY: Final = 64 * 1024
_PUBLIC_MODE: Final = 0o644


@dataclass(frozen=True, slots=True)
class Container:
    """`path` is that of the key, absolute and without links: the label under which it is registered."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> Self:
        """The container of a path as it was typed. Raises BadRequest, FileProblem."""
        if path.suffix == _CERTIFICATE:
            raise BadRequest(f"cannot use '{path}' for a key: certificates have this suffix")
        found = resolved(path)
        if not found.name:
            raise BadRequest(f"cannot use '{path}' for a key: this is no file's name")
        return cls(found)

    @classmethod
    def of_label(cls, label: str) -> Self:
        """The container for which something is registered."""
        return cls(Path(label))

    @property
    def label(self) -> str:
        """Under which the key is registered."""
        return str(self.path)

    @property
    def certificate_path(self) -> Path:
        """The certificates beside it."""
        return self.path.with_name(self.path.name + _CERTIFICATE)

    @property
    def certificate_label(self) -> str:
        """Under which they are registered."""
        return str(self.certificate_path)

    def require_directory(self) -> None:
        """Go on only where its files could lie. Raises FileProblem."""
        if not is_directory(self.path.parent):
            raise FileProblem(f"cannot create '{self.path}': no such directory")

    def key(self) -> KeyFile | None:
        """What the file holds; None where there is none. Raises NotAContainer, FileProblem."""
        if not is_there(self.path):
            return None
        try:
            return read_tss2_pem(read_regular_file(self.path, _MAX_KEY))
        except MalformedStructure as error:
            raise NotAContainer(f"cannot use '{self.path}': {_reason(error)}") from None

    def certificates(self) -> Certificates | None:
        """What lies beside it; None where nothing does. Raises CertificateDiffers, FileProblem."""
        if not is_there(self.certificate_path):
            return None
        return read_certificates(read_regular_file(self.certificate_path, MAX_CERTIFICATES), self.certificate_path)

    def settle(self) -> None:
        """Remove what a run that was cut left beside its files."""
        for path in (self.path, self.certificate_path):
            settle_file(path)

    def create(self, key: SealedObject, handle: int) -> None:
        """Write the key to a file that is not there yet. Raises FileExists, FileProblem."""
        create_file(self.path, tss2_pem(tss2_private_key(key.public, key.private, handle)))

    def write_certificates(self, certificates: Certificates) -> None:
        """Replace the certificates; they are for everybody to read."""
        write_file(self.certificate_path, certificates.pem, _PUBLIC_MODE)


def _reason(error: MalformedStructure) -> str:
    return str(error).partition(": ")[2]
