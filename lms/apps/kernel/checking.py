"""`evm check`: the TPM opens the master key, that opens the EVM key, and what of it the kernel has."""

from __future__ import annotations

from lms.apps.acts import Acts, Answer
from lms.apps.kernel.blobs import EVM_KEY, EncryptedKey, Master
from lms.apps.kernel.files import Files
from lms.apps.kernel.keyring import Evm, payload
from lms.apps.kernel.registry import Registry, label_of
from lms.errors import EvmKeyAbsent, EvmKeyDamaged, EvmKeyLost


def check(acts: Acts, files: Files, evm: Evm) -> Answer:
    """Prove that the blobs open below the recoverable key of now. The kernel gets nothing.

    `registered`: whether packages carry this EVM key; `loaded`, `enabled`: whether the kernel has it, and EVM took it.
    Raises EvmKeyAbsent, EvmKeyLost, EvmKeyOther, EvmKeyDamaged, KeyNotFound, ForeignKey, BlobRefused.
    """
    registry, key = Registry.of(acts), files.evm_key()
    if key is None:
        if registry.evm() is None:
            raise EvmKeyAbsent(f"cannot find an EVM key in '{files.directory}', and none is registered")
        raise EvmKeyLost(f"cannot find the EVM key in '{files.directory}'; it is registered")
    secret, blob = registry.open(key.master)
    if key.master is Master.TRUSTED and not files.has_master(blob):
        raise EvmKeyLost(f"cannot find '{files.master}'; it is registered")
    if not key.opens(secret):
        raise EvmKeyDamaged(f"cannot use '{files.evm(key.master)}': it is below another master key, or was altered")
    return {
        "master": key.master.value,
        "file": str(files.evm(key.master)),
        "key": registry.labels[key.master.description],
        "opens": True,
        "registered": label_of(key) in registry.labels,
        "loaded": _is_loaded(key),
        "enabled": evm.enabled,
    }


def _is_loaded(key: EncryptedKey) -> bool:
    found = payload("encrypted", EVM_KEY)
    return found is not None and key.is_in(found) and payload(key.master.value, key.master.description) is not None
