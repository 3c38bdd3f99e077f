"""`csp add`: a key below the recoverable key, in a file that OpenSSL reads, with its certificates beside it.

The key is registered before its file is written: cut in between, the next `add` writes the file of that key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lms.apps.acts import Acts, Answer
from lms.apps.csp.certificates import Certificates
from lms.apps.csp.container import Container
from lms.apps.csp.listing import described
from lms.apps.csp.pkcs12 import Brought
from lms.apps.csp.registry import Records, handle_of, place, registered_key
from lms.errors import AnotherKey, NotAContainer
from lms.model.keys import ApplicationAlgorithm
from lms.model.tpm import SealedObject
from lms.names import PRIVATE, PUBLIC, SENSITIVE
from lms.wire.tpm.application import algorithm_of_application


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a container shall hold: a key that was brought, or one of an algorithm, P-256 where none is named."""

    algorithm: ApplicationAlgorithm | None = None
    brought: Brought | None = None
    certificates: Certificates | None = None

    @property
    def chain(self) -> Certificates | None:
        """The certificates that were given, or came with the key."""
        return self.certificates if self.brought is None else self.brought.certificates

    @property
    def public(self) -> bytes | None:
        """The key, as far as it is known before it is made."""
        return None if self.brought is None else self.brought.public

    def accepts(self, public: bytes) -> bool:
        """Whether a key that is there already is what is wanted."""
        if self.brought is not None:
            return public == self.brought.public
        return self.algorithm is None or algorithm_of_application(public) is self.algorithm


def add(acts: Acts, path: Path, directory: Path, wanted: Wanted) -> Answer:
    """Make, import or take over a key, keep it and its certificates; what is there already stays.

    Raises NotAContainer, AnotherKey, CertificateDiffers, Busy, and what stops an act: NotMigratable, BlobRefused.
    """
    container = Container.at(path)
    container.require_directory()
    with Records.of(directory) as records:
        container.settle()
        handle = handle_of(acts)
        there, known = _present(container, handle), registered_key(acts, container)
        found = _agreed(container, there, known, wanted)
        beside = container.certificates()
        certificates = wanted.chain or beside
        for one in filter(None, (wanted.chain, beside)):
            one.require(wanted.public if found is None else found.public)
        key, changed = _registered(acts, container, found, wanted)
        if there is None:
            container.create(key, handle)
            changed = True
        if certificates is not None:
            changed |= records.ensure(acts, container.certificate_label, certificates.pem)
            if beside is None or beside.pem != certificates.pem:
                container.write_certificates(certificates)
                changed = True
        return described(container, key.public, certificates) | {"changed": changed}


def _present(container: Container, handle: int) -> SealedObject | None:
    found = container.key()
    if found is None:
        return None
    if found.parent != handle:
        raise NotAContainer(f"cannot use '{container.path}': its key is not below {handle:#x}")
    if not found.empty_auth:
        raise NotAContainer(f"cannot use '{container.path}': its key has a password of its own")
    return found.key


def _agreed(
    container: Container, there: SealedObject | None, known: SealedObject | None, wanted: Wanted
) -> SealedObject | None:
    """The key in the file or registered for it. Raises AnotherKey where there are two, or not the wanted one.

    What a file says of its key, that no password opens it, nobody proves: of a known key it replaces nothing.
    """
    if there is not None and known is not None and there != known:
        what = "the key was altered in it" if there.public == known.public else "another key is in it"
        raise AnotherKey(f"cannot use '{container.path}': since it was registered {what}")
    found = there or known
    if found is not None and not wanted.accepts(found.public):
        where = "is registered for it" if there is None else "is in it"
        raise AnotherKey(f"cannot put this key into '{container.path}': another one {where}")
    return found


def _registered(
    acts: Acts, container: Container, found: SealedObject | None, wanted: Wanted
) -> tuple[SealedObject, bool]:
    """The key, registered now, and whether it was not before."""
    if found is not None:
        answer, _ = acts("register", place(container.label), {PUBLIC: found.public, PRIVATE: found.private})
        return found, answer["changed"]
    options, inputs = _new(wanted)
    answer, areas = acts("register", place(container.label) | options, inputs, (PUBLIC, PRIVATE))
    return SealedObject(areas[PUBLIC], areas[PRIVATE]), answer["changed"]


def _new(wanted: Wanted) -> tuple[dict[str, str], dict[str, bytes]]:
    """Options and inputs with which the service imports a key or makes one."""
    if wanted.brought is None:
        return {"algorithm": (wanted.algorithm or ApplicationAlgorithm.ECC_P256).value}, {}
    return {}, {PUBLIC: wanted.brought.public, SENSITIVE: wanted.brought.sensitive.reveal()}
