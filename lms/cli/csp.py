"""`lmsctl csp`: keys of applications in files that OpenSSL reads, and that survive the TPM."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from lms.apps.csp.adding import Wanted, add
from lms.apps.csp.certificates import MAX_CERTIFICATES, Certificates, read_certificates
from lms.apps.csp.exporting import export
from lms.apps.csp.listing import listed
from lms.apps.csp.pkcs12 import Brought, read_pkcs12
from lms.apps.csp.tokens import add_token
from lms.cli.running import acts_of
from lms.config import load_configuration
from lms.errors import KeyStaysInTpm
from lms.files import read_file
from lms.model.keys import ApplicationAlgorithm
from lms.model.secret import Secret
from lms.names import OWNER_AUTH
from lms.terminal import read_secret, say_of_none

Answer = dict[str, Any]
Verb = Callable[..., argparse.ArgumentParser]
_MAX_PKCS12: Final = 1024 * 1024


def add_verbs(verb: Verb) -> None:
    """Their options."""
    csp = verb("csp", "keys of applications in files that OpenSSL reads")
    within = csp.add_subparsers(dest="act", required=True, metavar="ACT")

    made = verb("add", "make or import a key below the recoverable key, or take over the one in FILE", _add, within)
    made.add_argument("file", metavar="FILE", help="a TSS2 PRIVATE KEY; its certificates lie in FILE.crt")
    kind = made.add_mutually_exclusive_group()
    algorithms = [one.value for one in ApplicationAlgorithm]
    kind.add_argument("--algorithm", choices=algorithms, help="of a new key; default: ecc-p256")
    kind.add_argument("--pkcs12", metavar="FILE", help="import the private key and the certificates of this file")
    made.add_argument("--password", metavar="FILE", help="of the PKCS#12; - is standard input; asked for by default")
    made.add_argument("--certificate", metavar="FILE", help="the certificate of the key, and those of its issuers")

    verb("list", "the keys, and how their files are", _list, within)

    made = verb("export", "write a lost file and its certificates again", _export, within)
    made.add_argument("file", metavar="FILE", help="as it was added")
    made.add_argument("--output", metavar="FILE", help="write to this file instead")
    made.add_argument("--owner-auth", metavar="FILE", help="the TPM's owner authorisation; - is standard input")
    made.add_argument("--pkcs12", action="store_true", help="always refused: a TPM gives no private key away")

    made = verb("token", "add a token to a PKCS#11 store of tpm2-pkcs11, and keep the store", _token, within)
    made.add_argument("store", metavar="STORE", help="its directory, or the file in it")
    made.add_argument("--label", metavar="NAME", required=True, help="of the token")
    made.add_argument("--pin", metavar="FILE", help="the user's PIN; - is standard input; asked for by default")
    made.add_argument("--so-pin", metavar="FILE", help="that of the security officer")


def _add(arguments: argparse.Namespace) -> Answer:
    config = load_configuration(arguments.config)
    wanted = Wanted(_algorithm(arguments.algorithm), _brought(arguments), _certificates(arguments.certificate))
    return add(acts_of(arguments), Path(arguments.file), config.applications_directory, wanted)


def _token(arguments: argparse.Namespace) -> Answer:
    config = load_configuration(arguments.config)
    pins = (
        partial(_pin, arguments.pin, "user PIN", "--pin"),
        partial(_pin, arguments.so_pin, "PIN of the security officer", "--so-pin"),
    )
    return add_token(acts_of(arguments), Path(arguments.store), config.applications_directory, arguments.label, *pins)


def _pin(source: str | None, prompt: str, option: str) -> Secret:
    return Secret(read_secret(source, prompt, confirm=True, option=option))


def _algorithm(name: str | None) -> ApplicationAlgorithm | None:
    return None if name is None else ApplicationAlgorithm(name)


def _certificates(source: str | None) -> Certificates | None:
    return None if source is None else read_certificates(read_file(Path(source), MAX_CERTIFICATES), Path(source))


def _brought(arguments: argparse.Namespace) -> Brought | None:
    if arguments.pkcs12 is None:
        return None
    source = Path(arguments.pkcs12)
    content = read_file(source, _MAX_PKCS12)
    password = read_secret(arguments.password, f"password of {source}", option="--password")
    return read_pkcs12(content, Secret(password), source)


def _list(arguments: argparse.Namespace) -> Answer:
    found = listed(acts_of(arguments))
    say_of_none("lmsctl", found, "no key is registered for a file", arguments.json)
    return {"containers": found}


def _export(arguments: argparse.Namespace) -> Answer:
    if arguments.pkcs12:
        raise KeyStaysInTpm(f"cannot write the key of '{arguments.file}' as PKCS#12: a TPM gives no private key away")
    given = arguments.owner_auth
    authorisation = {} if given is None else {OWNER_AUTH: read_secret(given, "owner authorisation")}
    output = arguments.output and Path(arguments.output)
    return export(acts_of(arguments), Path(arguments.file), output, authorisation)
