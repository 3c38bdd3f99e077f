"""`lmsctl evm`: the kernel's keys for EVM, below the recoverable key."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lms.apps.kernel.blobs import Master
from lms.apps.kernel.checking import check
from lms.apps.kernel.creating import create
from lms.apps.kernel.files import DEFAULT_KEYS, Files
from lms.apps.kernel.keyring import Evm, takes_trusted_keys
from lms.apps.kernel.loading import load
from lms.cli.running import acts_of
from lms.config import load_configuration
from lms.names import OWNER_AUTH
from lms.terminal import read_secret

Answer = dict[str, Any]
Verb = Callable[..., argparse.ArgumentParser]


def add_verbs(verb: Verb) -> None:
    """Their options."""
    evm = verb("evm", "the kernel's keys for EVM, which the recoverable key opens at boot")
    within = evm.add_subparsers(dest="act", required=True, metavar="ACT")

    def act(name: str, text: str, run: Callable[[argparse.Namespace], Answer]) -> argparse.ArgumentParser:
        made = verb(name, text, run, within)
        made.add_argument("--directory", metavar="DIR", default=DEFAULT_KEYS, help=f"of their files: {DEFAULT_KEYS}")
        return made

    made = act("create", "make a master key and a key for EVM below it", _create)
    kinds = [master.value for master in Master]
    made.add_argument("--master", choices=kinds, help="who opens the master key; default: the kernel, where it can")
    made.add_argument("--replace", action="store_true", help="put another EVM key aside")

    made = act("load", "load both keys into the kernel", _load)
    made.add_argument("--enable", action="store_true", help="have EVM take its key, until the machine is switched off")
    made.add_argument("--owner-auth", metavar="FILE", help="with a lost file: the TPM's owner authorisation")

    act("check", "prove that both keys open", _check)


def _files(arguments: argparse.Namespace) -> Files:
    config = load_configuration(arguments.config)
    return Files(Path(arguments.directory), config.applications_directory)


def _create(arguments: argparse.Namespace) -> Answer:
    chosen = arguments.master or (Master.TRUSTED if takes_trusted_keys() else Master.USER)
    return create(acts_of(arguments), _files(arguments), Master(chosen), replace=arguments.replace)


def _load(arguments: argparse.Namespace) -> Answer:
    source = arguments.owner_auth
    authorisation = {} if source is None else {OWNER_AUTH: read_secret(source, "")}
    return load(acts_of(arguments), _files(arguments), Evm(), authorisation, enable=arguments.enable)


def _check(arguments: argparse.Namespace) -> Answer:
    return check(acts_of(arguments), _files(arguments), Evm())
