"""What packages carry of the kernel's keys: the sealed master key, and the EVM key as data.

The label of the second has the key's initial vector, which is as good as its name and tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lms.apps.acts import Acts
from lms.apps.kernel.blobs import EncryptedKey, Master, read_evm_key, write_master
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.names import DATA, PRIVATE, PUBLIC

APPLICATION: Final = "evm"


def label_of(key: EncryptedKey) -> str:
    """The label under which an EVM key is registered."""
    return f"evm-{key.master.value}:{key.iv.hex()}"


@dataclass(frozen=True, slots=True)
class Registry:
    """What is registered for us, by label; the Name of a key, nothing for data."""

    acts: Acts
    labels: Mapping[str, str]

    @classmethod
    def of(cls, acts: Acts) -> Registry:
        """As the service knows it. Raises NotProvisioned."""
        entries = acts("keys", {})[0].get("entries", [])
        mine = (entry for entry in entries if (entry["owner"], entry["application"]) == ("system", APPLICATION))
        return cls(acts, {entry["label"]: entry.get("name", "") for entry in mine})

    def evm(self) -> tuple[Master, str] | None:
        """Below which master key the EVM key is, and its label."""
        for label in self.labels:
            if found := re.fullmatch("evm-(trusted|user):[0-9a-f]{32}", label):
                return Master(found[1]), label
        return None

    def seal(self, master: Master, key: Secret) -> None:
        """A new master key."""
        options = {"application": APPLICATION, "label": master.description}
        self.acts("seal", options, {DATA: key.reveal()}, (PUBLIC, PRIVATE))

    def open(self, master: Master) -> tuple[Secret, bytes]:
        """The master key, as the TPM loads and unseals it, and the blob that the kernel takes for it.

        Raises NotRegistered, KeyNotFound and ForeignKey where the recoverable key is not here, BlobRefused.
        """
        _, areas = self.acts("retrieve", self._at(master.description), collected=(PUBLIC, PRIVATE))
        _, opened = self.acts("unseal", {}, areas, (DATA,))
        status, _ = self.acts("status", {})
        key = SealedObject(public=areas[PUBLIC], private=areas[PRIVATE])
        return Secret(opened[DATA]), write_master(key, int(status["handle"], 16))

    def keep(self, key: EncryptedKey) -> None:
        """Have an EVM key carried by packages."""
        self.acts("register", self._at(label_of(key)), {DATA: key.text})

    def bring(self, label: str, authorisation: Mapping[str, bytes]) -> EncryptedKey:
        """An EVM key from where it is kept. Raises OwnerAuthFailed."""
        _, kept = self.acts("retrieve", self._at(label), authorisation, (DATA,))
        return read_evm_key(kept[DATA])

    def forget(self, label: str) -> None:
        """Have an EVM key carried no more."""
        self.acts("unregister", self._at(label))

    @staticmethod
    def _at(label: str) -> dict[str, str]:
        return {"application": APPLICATION, "label": label}
