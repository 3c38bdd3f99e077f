"""A Migration Authority, as those see it who call it (PROTOCOL §7)."""

from __future__ import annotations

from typing import Protocol

from lms.model.authorities import Challenge, Hello, Inventory, Kind, Receipt, ServiceInformation, Session


class MigrationAuthority(Protocol):
    """What a Migration Authority offers (PROTOCOL §7), on both ends of the line.

    `lms.service.keeping` is the authority itself, `lms.adapters.authority` the way to a remote one. `session` is
    the token of `session()`, empty for a station that its TLS certificate names.
    """

    def information(self) -> ServiceInformation:
        """GetMAServiceInformation."""
        ...

    def vault_public(self) -> bytes:
        """GetMAKey: TPM2B_PUBLIC of the vault parent. Believed only where the trust list names it."""
        ...

    def challenge(self, hello: Hello) -> Challenge:
        """Authenticate, first call. Raises BadAttributes, MalformedStructure, AuthorityBusy."""
        ...

    def session(self, server_nonce: bytes, proof: bytes) -> Session:
        """Authenticate, second call. Raises NotAuthenticated."""
        ...

    def upload(self, session: bytes, document: bytes) -> Receipt:
        """Hand a document over: a package, a request, or what the MSA signed. Nothing is ever overwritten."""
        ...

    def query(self, session: bytes) -> Inventory:
        """What the asker has there."""
        ...

    def download(self, session: bytes, kind: Kind, id: str) -> bytes:
        """One document, its exact signed bytes. Raises NotAtAuthority, ApprovalPending, Denied, AlreadyReleased."""
        ...

    def delete(self, session: bytes, id: str) -> Receipt:
        """Mark a package for deletion; of a request, by a station: deny it. Raises LastPackage."""
        ...


class RemoteAuthority(MigrationAuthority, Protocol):
    """A Migration Authority at the other end of a TLS connection."""

    @property
    def leaf(self) -> bytes:
        """DER of the certificate that it showed on the present connection; empty before the first call."""
        ...

    def download(self, session: bytes, kind: Kind, id: str, at_most: int | None = None) -> bytes:
        """As `MigrationAuthority.download`; of more than `at_most` bytes not all are read. Raises AuthorityFailed."""
        ...
