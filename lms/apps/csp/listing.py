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
from lms.wire.tpm.application import algorithm_of_application
from lms.wire.tpm.foreign import foreign_name

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
    with suppress(LmsError):
        row |= _file(acts, container, entry["name"])
    with suppress(LmsError):
        row |= _of(container.certificates())
    return row | {"certificate-kept": container.certificate_label in labels}


def _file(acts: Acts, container: Container, name: str) -> Answer:
    """Whether a file has the registered key, as far as can be told; both areas only where the key is at home."""
    found = container.key()
    if found is None:
        return {"file": "missing"}
    if str(foreign_name(found.key.public)) != name:
        return {}
    with suppress(LmsError):
        if registered_key(acts, container) != found.key:
            return {}
    return {"file": "present", **_of_key(found.key.public)}
