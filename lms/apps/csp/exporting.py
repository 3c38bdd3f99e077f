"""`csp export`: the files of a container, from what is registered. The private key stays in the TPM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lms.apps.acts import Acts, Answer
from lms.apps.csp.certificates import Certificates, read_certificates
from lms.apps.csp.container import Container
from lms.apps.csp.listing import described
from lms.apps.csp.registry import entries, handle_of, place, registered_key
from lms.errors import FileExists, NotRegistered
from lms.files import is_there
from lms.model.tpm import SealedObject
from lms.names import DATA


def export(acts: Acts, path: Path, output: Path | None, authorisation: Mapping[str, bytes]) -> Answer:
    """Write key and certificates again, at their paths or at `output`; what is there already is never replaced.

    The certificates take the TPM's owner authorisation, the key takes none: without the TPM it is of no use.
    Raises NotRegistered, FileExists where another key is there, OwnerAuthFailed.
    """
    container = Container.at(path)
    target = container if output is None else Container.at(output)
    target.require_directory()
    handle = handle_of(acts)
    key = registered_key(acts, container)
    if key is None:
        raise NotRegistered(f"cannot export '{container.path}': no key is registered for this file")
    changed = _ensure_key(target, key, handle)
    certificates = target.certificates()
    if certificates is None and (certificates := _registered(acts, container, authorisation)) is not None:
        target.write_certificates(certificates)
        changed = True
    return described(target, key.public, certificates) | {"changed": changed}


def _ensure_key(target: Container, key: SealedObject, handle: int) -> bool:
    if not is_there(target.path):
        target.create(key, handle)
        return True
    there = target.key()
    if there is None or (there.key, there.parent) != (key, handle):
        raise FileExists(f"cannot create '{target.path}': another key is there")
    return False


def _registered(acts: Acts, container: Container, authorisation: Mapping[str, bytes]) -> Certificates | None:
    if container.certificate_label not in {entry["label"] for entry in entries(acts)}:
        return None
    _, found = acts("retrieve", place(container.certificate_label), authorisation, (DATA,))
    return read_certificates(found[DATA], container.certificate_path)
