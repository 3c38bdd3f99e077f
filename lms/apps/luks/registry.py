"""What packages carry of a volume: the sealed object of each slot of ours as a key, its header as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from lms.apps.acts import Acts
from lms.apps.luks.token import Token
from lms.model.packages import SYSTEM
from lms.names import DATA, PRIVATE, PUBLIC

APPLICATION: Final = "luks"


@dataclass(frozen=True, slots=True)
class Registry:
    """What is registered of one volume, by its UUID."""

    acts: Acts
    uuid: str

    def label(self, slot: int) -> str:
        """The label under which the sealed object of a slot is registered."""
        return f"{self.uuid}:{slot}"

    def names(self) -> Mapping[int, str]:
        """Slots and the Names of their sealed objects."""
        own = ((label.rpartition(":"), name) for label, name in self._entries().items() if name)
        return {int(slot): name for (uuid, _, slot), name in own if uuid == self.uuid and slot.isdecimal()}

    def has_header(self) -> bool:
        """Whether a header is registered, whichever."""
        return self.uuid in self._entries()

    def keep_header(self, content: bytes) -> None:
        """Have packages carry a header."""
        self.acts("register", self._at(self.uuid), {DATA: content})

    def keep_slot(self, slot: int, token: Token) -> None:
        """Have them carry the sealed object of a slot."""
        areas = {PUBLIC: token.key.public, PRIVATE: token.key.private}
        self.acts("register", self._at(self.label(slot)), areas)

    def forget_header(self) -> None:
        """Have them carry it no more."""
        self.acts("unregister", self._at(self.uuid))

    def forget_slot(self, slot: int) -> None:
        """The same of a slot's."""
        self.acts("unregister", self._at(self.label(slot)))

    def _entries(self) -> Mapping[str, str]:
        """Name by label; nothing for data."""
        entries = self.acts("keys", {})[0].get("entries", [])
        mine = (entry for entry in entries if (entry["owner"], entry["application"]) == (SYSTEM, APPLICATION))
        return {entry["label"]: entry.get("name", "") for entry in mine}

    @staticmethod
    def _at(label: str) -> dict[str, str]:
        return {"application": APPLICATION, "label": label}
