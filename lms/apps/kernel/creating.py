"""`evm create`: a master key below the recoverable key, and the key of EVM below that."""

from __future__ import annotations

import secrets

from lms.apps.acts import Acts, Answer
from lms.apps.kernel.blobs import MASTER_SIZE, EncryptedKey, Master, new_evm_key
from lms.apps.kernel.files import Files
from lms.apps.kernel.registry import Registry, label_of
from lms.errors import EvmKeyLost, EvmKeyOther
from lms.model.secret import Secret


def create(acts: Acts, files: Files, master: Master, *, replace: bool = False) -> Answer:
    """Make and register both keys, and write their blobs; those that are there are proven. The kernel gets nothing.

    `replace` puts another EVM key aside. A run that was cut is gone on with by the next. Raises EvmKeyOther,
    EvmKeyLost, KeyNotFound, ForeignKey, Busy, and what stops an act.
    """
    with files.alone():
        aside = _put_aside(Registry.of(acts), files, master) if replace else []
        registry = Registry.of(acts)
        found = _ours(registry, files, master)
        made = _ensure_registered(registry, master)
        master_key, blob = registry.open(master)
        made |= master is Master.TRUSTED and _ensure_master(files, blob)
        key = new_evm_key(master, master_key) if found is None else found
        if not key.opens(master_key):
            raise EvmKeyOther(f"cannot use '{files.evm(master)}': it is below another master key, or was altered")
        if found is None:
            files.write(files.evm(master), key.text)
        kept = label_of(key) in registry.labels
        if not kept:
            registry.keep(key)
    changed = made or found is None or not kept
    return {"master": master.value, "file": str(files.evm(master)), "aside": aside, "changed": changed}


def _ours(registry: Registry, files: Files, master: Master) -> EncryptedKey | None:
    """The EVM key that is there; None where none is, nor was."""
    found, registered = files.evm_key(), registry.evm()
    if registered is not None and registered[0] is not master:
        raise EvmKeyOther(f"cannot make an EVM key: one below a {registered[0].value} master key is registered")
    if found is None:
        if registered is not None:
            raise EvmKeyLost(f"cannot make an EVM key: '{files.evm(master)}' is lost, and its key is registered")
    elif registered not in (None, (found.master, label_of(found))) or found.master is not master:
        raise EvmKeyOther(f"cannot use '{files.evm(found.master)}': it is another EVM key")
    if master.description not in registry.labels and (found is not None or _has_master(files, master)):
        raise EvmKeyOther(f"cannot use the keys in '{files.directory}': their master key is not registered")
    return found


def _has_master(files: Files, master: Master) -> bool:
    return master is Master.TRUSTED and files.read_master() is not None


def _ensure_registered(registry: Registry, master: Master) -> bool:
    missing = master.description not in registry.labels
    if missing:
        registry.seal(master, Secret(secrets.token_bytes(MASTER_SIZE)))
    return missing


def _ensure_master(files: Files, blob: bytes) -> bool:
    missing = not files.has_master(blob)
    if missing:
        files.write(files.master, blob)
    return missing


def _put_aside(registry: Registry, files: Files, master: Master) -> list[str]:
    """Files first, so that what is cut is a key that is lost, and `load` brings it back."""
    paths = [files.evm(one) for one in Master]
    if master is Master.TRUSTED and not _is_registered(registry, files):
        paths.append(files.master)
    moved = [str(path) for path in map(files.put_aside, paths) if path is not None]
    registered = registry.evm()
    if registered is not None:
        registry.forget(registered[1])
    return moved


def _is_registered(registry: Registry, files: Files) -> bool:
    """Whether the trusted master key that is there is ours: it opens what was put aside, and stays."""
    known = Master.TRUSTED.description in registry.labels
    return known and files.read_master() in (None, registry.open(Master.TRUSTED)[1])
