"""`csp list`: each key that is registered for a file, and how its files are. It works on another TPM, too."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from lms.apps.acts import Acts, Answer
from lms.apps.csp.certificates import Certificates
from lms.apps.csp.container import Container
from lms.apps.csp.registry import entries, registered_key
from lms.errors import LmsError
from lms.model.keys import Name
from lms.model.tpm import SealedObject
from lms.wire.tpm.application import algorithm_of_application
from lms.wire.tpm.foreign import foreign_name
from lms.wire.tpm.key_file import KeyFile

# Whether the newest package has all that is registered; in other states nobody can tell.
_ARCHIVED: Final = {"created": False, "stale": False, "at-risk": True, "protected": True}


def described(container: Container, public: bytes, certificates: Certificates | None) -> Answer:
    """A container whose key is known: `key` is the digits of its Name."""
    return {"path": container.label, **_of_key(public), **_of(certificates)}


def _of_key(public: bytes) -> Answer:
    algorithm = algorithm_of_application(public)
    return {"algorithm": algorithm and algorithm.value, "key": foreign_name(public).digits}


def _of(certificates: Certificates | None) -> Answer:
    return {} if certificates is None else {"certificate": certificates.subject, "ends": certificates.ends}


def listed(acts: Acts) -> list[Answer]:
    """Path, algorithm, digits of the Name, whether packages carry key and certificate, and the state of the file."""
    known = entries(acts)
    archived = None
    with suppress(LmsError):  # a machine without its TPM has containers all the same
        archived = _ARCHIVED.get(acts("status", {})[0]["state"])
    labels = {entry["label"] for entry in known}
    return [_row(acts, entry, labels) | {"archived": archived} for entry in known if entry["kind"] == "key"]


def _row(acts: Acts, entry: Mapping[str, Any], labels: set[str]) -> Answer:
    container = Container.of_label(entry["label"])
    row: Answer = {"path": container.label, "file": "changed", "key": Name.from_text(entry["name"]).digits}
    kept = _registered(acts, container)
    with suppress(LmsError):
        row |= _file(container.key(), kept, entry["name"])
    with suppress(LmsError):
        row |= _beside(container, kept, entry["name"])
    return row | {"certificate-kept": container.certificate_label in labels}


def _registered(acts: Acts, container: Container) -> SealedObject | None:
    """Both areas of a key; None where it is not at home."""
    with suppress(LmsError):
        return registered_key(acts, container)
    return None


def _file(found: KeyFile | None, kept: SealedObject | None, name: str) -> Answer:
    """Whether a file has the registered key, as far as can be told."""
    if found is None:
        return {"file": "missing"}
    if str(foreign_name(found.key.public)) != name or kept not in (None, found.key):
        return {}
    return {"file": "present", **_of_key(found.key.public)}


def _beside(container: Container, kept: SealedObject | None, name: str) -> Answer:
    """The certificates of this very key. Raises CertificateDiffers where they are another one's."""
    certificates = container.certificates()
    if certificates is not None:
        certificates.require(kept.public if kept else _public(container, name))
    return _of(certificates)


def _public(container: Container, name: str) -> bytes | None:
    found = container.key()
    return found.key.public if found and str(foreign_name(found.key.public)) == name else None
