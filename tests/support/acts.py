"""Acts in this process, as `lms.boot` and the jobs run them: the same table, on a machine's setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lms.adapters.store import RecoveryDirectory
from lms.model.registered import ROOT, Caller
from lms.model.secret import Secret
from lms.service.acts import ACTS, ALONE, Call
from tests.support.platform import Platform

_NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


def call_of(
    options: Mapping[str, Any] = _NO_OPTIONS, *, caller: Caller = ROOT, waits: bool = False, **secrets: bytes
) -> Call:
    """A call; words with `_` for `-`."""
    given = {word.replace("_", "-"): Secret(value) for word, value in secrets.items()}
    return Call(options, given, caller=caller, waits=waits)


def run(platform: Platform, verb: str, call: Call, boot: Path | None = None) -> dict[str, Any]:
    """The answer of an act; `boot` is the directory for what a rescue system finds."""
    setting = replace(platform.setting, recovery=None if boot is None else RecoveryDirectory(boot))
    return (ACTS | ALONE)[verb](call, setting)


def act(
    platform: Platform, verb: str, options: Mapping[str, Any] = _NO_OPTIONS, boot: Path | None = None, **secrets: bytes
) -> dict[str, Any]:
    """The same for root, who cannot be asked for more."""
    return run(platform, verb, call_of(options, **secrets), boot)
