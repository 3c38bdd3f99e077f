"""`evm load`: both keys go into the kernel, and EVM takes its own."""

from __future__ import annotations

from collections.abc import Mapping

from lms.apps.acts import Acts, Answer
from lms.apps.kernel.blobs import EVM_KEY, EncryptedKey, Master
from lms.apps.kernel.files import Files
from lms.apps.kernel.keyring import Evm, ensure
from lms.apps.kernel.registry import Registry
from lms.errors import EvmKeyAbsent, EvmKeyDamaged, KernelRefused
from lms.model.secret import Secret


def load(acts: Acts, files: Files, evm: Evm, authorisation: Mapping[str, bytes], *, enable: bool = False) -> Answer:
    """Load what is not loaded, and have EVM take it where `enable`; lost files come back from the registry.

    A trusted key is the kernel's to open: then the service is asked only where that fails, and why. Raises KeyNotFound,
    ForeignKey, KernelLacks, KeyringOccupied, KernelRefused, EvmKeyAbsent, EvmKeyOther, EvmKeyDamaged, OwnerAuthFailed.
    """
    with files.alone():
        key = files.evm_key() or _brought_back(acts, files, authorisation)
        try:
            changed = _load_master(acts, files, key.master)
            changed |= ensure("encrypted", EVM_KEY, Secret(b"load " + key.text), key.is_in)
        except KernelRefused:
            _tell_why(acts, files, key)
            raise
        changed |= enable and evm.enable()
    return {"master": key.master.value, "loaded": True, "enabled": evm.enabled, "changed": changed}


def _load_master(acts: Acts, files: Files, master: Master) -> bool:
    if master is Master.USER:
        secret, _ = Registry.of(acts).open(master)
        return ensure(master.value, master.description, secret, secret.reveal().__eq__)
    blob = files.read_master()
    if blob is None:
        _, blob = Registry.of(acts).open(master)
        files.write(files.master, blob)
    return ensure(master.value, master.description, Secret(b"load " + blob), blob.__eq__)


def _brought_back(acts: Acts, files: Files, authorisation: Mapping[str, bytes]) -> EncryptedKey:
    registry = Registry.of(acts)
    registered = registry.evm()
    if registered is None:
        raise EvmKeyAbsent(f"cannot find an EVM key in '{files.directory}', and none is registered")
    key = registry.bring(registered[1], authorisation)
    files.write(files.evm(key.master), key.text)
    return key


def _tell_why(acts: Acts, files: Files, key: EncryptedKey) -> None:
    """Raise what the kernel has no words for: no recoverable key, another one, or a blob that is not ours."""
    secret, blob = Registry.of(acts).open(key.master)
    if key.master is Master.TRUSTED:
        files.has_master(blob)
    if not key.opens(secret):
        raise EvmKeyDamaged(f"cannot use '{files.evm(key.master)}': it is below another master key, or was altered")
