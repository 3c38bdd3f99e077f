"""`lmsctl evm`: the kernel's keys for EVM, below the recoverable key."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lms.apps.kernel.blobs import Master
from lms.apps.kernel.checking import check
from lms.apps.kernel.creating import create
from lms.apps.kernel.files import DEFAULT_KEYS, Files
from lms.apps.kernel.keyring import Evm, takes_trusted_keys
from lms.apps.kernel.loading import load
from lms.cli.running import Order
from lms.config import load_configuration
from lms.names import OWNER_AUTH
from lms.terminal import read_secret

Answer = dict[str, Any]
Verb = Callable[..., argparse.ArgumentParser]


def add_verbs(verb: Verb) -> None:
    """Their options."""
    evm = verb("evm", "the kernel's keys for EVM, which the recoverable key opens at boot")
    within = evm.add_subparsers(dest="act", required=True, metavar="ACT")

    def act(name: str, text: str, run: Callable[[_Work], Answer]) -> argparse.ArgumentParser:
        made = verb(name, text, partial(_run, run), within)
        made.add_argument("--directory", metavar="DIR", default=DEFAULT_KEYS, help=f"of their files: {DEFAULT_KEYS}")
        return made

    made = act("create", "make a master key and a key for EVM below it", _create)
    kinds = [master.value for master in Master]
    made.add_argument("--master", choices=kinds, help="who opens the master key; default: the kernel, where it can")
    made.add_argument("--replace", action="store_true", help="put another EVM key aside")

    made = act("load", "load both keys into the kernel", _load)
    made.add_argument("--enable", action="store_true", help="have EVM take its key, until the machine is switched off")
    made.add_argument("--owner-auth", metavar="FILE", help="where a file is lost: the TPM's owner authorisation")

    act("check", "prove that both keys open", _check)


@dataclass(frozen=True)
class _Work:
    """What an act is given."""

    arguments: argparse.Namespace
    files: Files

    def acts(self, verb: str, options: Mapping[str, Any], inputs: Any = None, collected: Any = ()) -> Any:
        """An act of the service."""
        given = self.arguments
        return Order(verb, given.config, options, dict(inputs or {}), collected, given.no_daemon).run()


def _run(act: Callable[[_Work], Answer], arguments: argparse.Namespace) -> Answer:
    config = load_configuration(None if arguments.config is None else Path(arguments.config))
    return act(_Work(arguments, Files(Path(arguments.directory), config.applications_directory)))


def _create(work: _Work) -> Answer:
    chosen = work.arguments.master or (Master.TRUSTED if takes_trusted_keys() else Master.USER)
    return create(work.acts, work.files, Master(chosen), replace=work.arguments.replace)


def _load(work: _Work) -> Answer:
    source = work.arguments.owner_auth
    authorisation = {} if source is None else {OWNER_AUTH: read_secret(source, "")}
    return load(work.acts, work.files, Evm(), authorisation, enable=work.arguments.enable)


def _check(work: _Work) -> Answer:
    return check(work.acts, work.files, Evm())
