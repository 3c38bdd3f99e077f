"""How `lmsctl` runs an act: inputs by descriptor, the owner authorisation asked for where it is missed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lms.errors import OwnerAuthFailed
from lms.names import OWNER_AUTH
from lms.process import run_collecting
from lms.terminal import read_secret

OWNER_AUTH_PROMPT = "owner authorisation"


@dataclass(slots=True)
class Order:
    """One act: its verb, options and inputs by their words; `collected` are the words it may hand out."""

    verb: str
    config: str | None
    options: Mapping[str, Any]
    inputs: dict[str, bytes] = field(default_factory=dict)
    collected: tuple[str, ...] = ()

    def run(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The answer, and what was handed out by its words. Raises the act's errors."""
        try:
            return self._once()
        except OwnerAuthFailed:
            if OWNER_AUTH in self.inputs or not sys.stdin.isatty():
                raise
            self.inputs[OWNER_AUTH] = read_secret(None, OWNER_AUTH_PROMPT)
            return self._once()

    def _once(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        config = [] if self.config is None else ["--config", self.config]
        inputs = self.inputs | {"options": json.dumps(dict(self.options)).encode()}
        given = run_collecting("lms.boot", [self.verb, *config], inputs, self.collected)
        return json.loads(given.pop("answer")), given
