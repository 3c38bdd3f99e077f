"""What the service says of this machine, and what follows for all that hangs below its recoverable key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from lms.apps.inventory.bond import State, Verdict
from lms.model.packages import DestinationKind
from lms.model.platform import Health

_NO_ONE: Final = "nobody could say whether packages hold the recoverable key"
_COMES_BACK: Final = Verdict(State.PROTECTED, "the recoverable key comes back on another TPM")
_NEVER: Final = Verdict(State.LOST, "no package holds the recoverable key", "lmsctl archive")
_BY_TOKEN: Final = "lmsctl restore --token FILE"
_STRANGE: Final = ("other-tpm", "cleared-tpm")
_OF: Final[Mapping[str, Verdict]] = {
    Health.UNPROVISIONED.value: Verdict(State.LOST, "this machine has no recoverable key", "lmsctl provision"),
    Health.CREATED.value: _NEVER,
    Health.STALE.value: Verdict(State.STALE, "something changed since the newest package", "lmsctl archive"),
    Health.AT_RISK.value: _COMES_BACK,
    Health.PROTECTED.value: _COMES_BACK,
    Health.RESTORE_NEEDED.value: Verdict(
        State.STALE, "the recoverable key is not in this TPM, and a package holds it", "lmsctl restore"
    ),
    Health.RESTORED_NOT_ENROLLED.value: Verdict(
        State.STALE, "the recoverable key is back, but destinations are not enrolled anew", "lmsctl enroll DESTINATION"
    ),
}


@dataclass(frozen=True, slots=True)
class Machine:
    """The handle of the recoverable key, and what `status` answered: nothing where nobody could be asked, and why.

    `lacks`: the entries that the newest package does not have; none where nobody could say.
    """

    handle: int
    status: Mapping[str, Any]
    silence: str = ""
    lacks: tuple[Mapping[str, str], ...] = ()

    @property
    def name(self) -> str | None:
        """The Name of the recoverable key, in hexadecimal digits; None where it is not known."""
        return self.status.get("key-name")

    @property
    def state(self) -> str | None:
        """The health of the platform, as `status` says it."""
        return self.status.get("state")

    @property
    def key_is_here(self) -> bool:
        """Whether the recoverable key is in this TPM."""
        return self.state not in (None, Health.UNPROVISIONED.value, Health.RESTORE_NEEDED.value)

    @property
    def package(self) -> bool:
        """Whether a package was ever made; supposed where the caller is not told."""
        return "archived" in self.status or "sequence" not in self.status

    @property
    def verdict(self) -> Verdict:
        """What becomes of all that hangs below the recoverable key."""
        found = _OF.get(self.state or "")
        if found is None:
            return Verdict(State.UNKNOWN, f"{_NO_ONE}: {self.silence}" if self.silence else _NO_ONE, "lmsctl status")
        if found.state is State.STALE and not self.package:
            return _NEVER
        return replace(found, act=_BY_TOKEN) if self._needs_token else found

    @property
    def _needs_token(self) -> bool:
        """Whether the key is in no chip here that would take it back, and nobody but the token has it."""
        kinds = {one["kind"] for one in self.status.get("destinations", ())}
        return self.status.get("reason") in _STRANGE and kinds == {DestinationKind.RECOVERY_TOKEN.value}
