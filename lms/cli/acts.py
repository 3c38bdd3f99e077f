"""The acts on the platform: `provision`, `enroll`, `forget`, `archive`, `restore`; and what is to be told of it."""

from __future__ import annotations

import argparse
import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lms.cli.following import DOCUMENTS, PROMPTS
from lms.cli.running import Order, bus_of
from lms.cli.service import Service
from lms.errors import BadRequest
from lms.files import create_file, is_directory, is_there, read_file, write_file
from lms.model.jobs import JobState
from lms.names import (
    ENDORSEMENT_AUTH,
    GRANT,
    OWNER_AUTH,
    PACKAGE,
    RECOVERY_PACKAGE,
    RECOVERY_SHEET,
    SHEET,
    TOKEN,
    TOKEN_PASSWORD,
)
from lms.terminal import read_secret, say, say_of_none
from lms.wire.anchor import read_owned_token
from lms.wire.trust_list import newer

Answer = dict[str, Any]

_SECRETS: Final = (OWNER_AUTH, ENDORSEMENT_AUTH)
# What is nothing of the act's own.
_OURS: Final = frozenset({"json", "run", "no-daemon", "config", "verb"})
# Lists, and what a person is told of an empty one.
_EMPTY: Final = {
    "packages": "there is no package yet: `lmsctl archive` makes one",
    "authorities": "no Migration Authority is known: a trust list names them, which comes with `lmsctl enroll msa`",
}
# Which options belong to which destination; what belongs to another one would be given in vain.
_ENROLLED_BY: Final = {"msa": {"request-to", GRANT, "via", "id"}, "ma": {"id"}, "token": set[str]()}


def run(arguments: argparse.Namespace) -> Answer:
    """Run an act with the options that were given."""
    said = vars(arguments).items()
    given = {name.replace("_", "-"): value for name, value in said if value is not None and value is not False}
    verb = arguments.verb
    if verb == "enroll":
        _check_destination(given)
    _unfold(given)
    register = _register(given)
    inputs = {word: read_file(Path(given.pop(word)), limit) for word, limit in DOCUMENTS.items() if word in given}
    inputs |= {word: read_secret(given.pop(word), PROMPTS[word]) for word in _SECRETS if word in given}
    if verb == "restore" and (TOKEN in inputs or TOKEN_PASSWORD in given):
        source = given.pop(TOKEN_PASSWORD, None)
        inputs[TOKEN_PASSWORD] = read_secret(source, PROMPTS[TOKEN_PASSWORD], option=f"--{TOKEN_PASSWORD}")
    if register is not None:
        inputs[GRANT] = read_file(register, DOCUMENTS[GRANT])
    request_to = given.pop("request-to", None)
    options = {name: value for name, value in given.items() if name not in _OURS}
    if request_to is not None:
        options["request"] = True
    answer, _ = Order(verb, arguments.config, options, inputs, no_daemon=arguments.no_daemon).run()
    if answer.pop("only-copy", False):
        say("lmsctl", "the only copy lies on this machine: name directories for it in `archives`")
    if verb in _EMPTY:
        say_of_none("lmsctl", answer[verb], _EMPTY[verb], arguments.json)
    if request_to is not None and "document" in answer:
        create_file(Path(request_to), base64.b64decode(answer.pop("document")), mode=0o644)
    if register is not None:
        answer["trust-list"] = str(_kept(register, inputs, base64.b64decode(answer["trust-list"])))
    return answer


def _unfold(given: dict[str, Any]) -> None:
    """In place of a recovery directory its sheet, and for a token the package beside it unless one is named."""
    if SHEET not in given or not is_directory(Path(given[SHEET])):
        return
    directory = Path(given.pop(SHEET))
    if TOKEN in given and is_there(directory / RECOVERY_PACKAGE):
        given.setdefault(PACKAGE, directory / RECOVERY_PACKAGE)
    if PACKAGE not in given or is_there(directory / RECOVERY_SHEET):
        given[SHEET] = directory / RECOVERY_SHEET  # one that no MSA granted anything to has no sheet


def _register(given: dict[str, Any]) -> Path | None:
    """The owner's register, which goes on from a restore by token. Raises BadRequest."""
    if "trust-list" not in given:
        return None
    if TOKEN not in given:
        raise BadRequest("cannot restore with --trust-list and without --token: who approves the restore has it")
    return Path(given.pop("trust-list"))


def _kept(register: Path, inputs: Mapping[str, bytes], offered: bytes) -> Path:
    """The register with the newest trust list: of this owner, and never an older one. Raises TrustListConflict."""
    _, owner = read_owned_token(inputs[TOKEN])
    newest = newer(inputs[GRANT], offered, owner)
    if newest != inputs[GRANT]:
        write_file(register, newest, mode=0o644)
    return register


def _check_destination(given: dict[str, Any]) -> None:
    """Raises BadRequest where an option is of no use to the destination, or the MSA gets none or both of its own."""
    destination = given["destination"]
    for name in sorted(set().union(*_ENROLLED_BY.values()) - _ENROLLED_BY[destination]):
        if name in given:
            raise BadRequest(f"cannot enroll '{destination}' with --{name}: it is of no use there")
    if destination == "msa" and len({"request-to", GRANT, "via"} & given.keys()) != 1:
        raise BadRequest("cannot enroll with the MSA: give one of --via, --request-to and --grant")


def status(arguments: argparse.Namespace) -> Answer:
    """The state of the platform, and the jobs that wait for somebody."""
    answer = run(arguments)
    service = None if arguments.no_daemon else Service.reach(bus_of(arguments.config))
    if service is not None:
        with service:
            waiting = [job for job in service.jobs().values() if job.state is JobState.WAITING]
        answer["jobs-waiting"] = [{"job": j.number, "verb": j.verb, "for": " ".join(j.waiting)} for j in waiting]
    return answer
