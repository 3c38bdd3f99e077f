"""What was found, and what could not be looked at, in words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from lms.apps.inventory.bond import Item
from lms.errors import LmsError


@dataclass(slots=True)
class Sight:
    """Grows while one looks; an error ends only what is looked at just now."""

    items: list[Item] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @contextmanager
    def trying(self) -> Iterator[None]:
        """Go on after an error, and say it."""
        try:
            yield
        except LmsError as error:
            self.unseen.append(str(error))
