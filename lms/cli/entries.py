"""`lmsctl register`, `unregister`, `retrieve`, `seal`, `keys`: what applications entrust to the platform (DESIGN §4).

Values come from files, standard input or the terminal, and go to new files of mode 0600.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lms.cli.following import PROMPTS
from lms.cli.running import Order
from lms.errors import BadRequest, FileExists
from lms.files import create_file, is_there, read_file
from lms.names import DATA, ENDORSEMENT_AUTH, OWNER_AUTH, PASSWORD, PRIVATE, PUBLIC, USER_PASSWORD
from lms.terminal import read_secret, say_of_none
from lms.wire.document import MIB
from lms.wire.tpm.key_file import tss2_pem, tss2_private_key

Answer = dict[str, Any]
Verb = Callable[[str, str, Callable[[argparse.Namespace], Answer]], argparse.ArgumentParser]

_CONTENTS: Final = {DATA: 32 * MIB, PUBLIC: 4096, PRIVATE: 4096}
_SECRETS: Final = (PASSWORD, USER_PASSWORD, OWNER_AUTH, ENDORSEMENT_AUTH)
_OPTIONS: Final[tuple[str, ...]] = ("application", "label", "user", "parent", "policy")
_STDOUT: Final = "-"


def add_verbs(verb: Verb) -> None:
    """Their options."""
    made = verb("register", "entrust a password, data or a key, so that it survives the TPM", register)
    _place(made)
    made.add_argument("--password", metavar="FILE", help="the password; - is standard input; asked for by default")
    made.add_argument("--data", metavar="FILE", help="at most 32 MiB; - is standard input")
    made.add_argument("--public", metavar="FILE", help="a key's TPM2B_PUBLIC")
    made.add_argument("--private", metavar="FILE", help="a key's TPM2B_PRIVATE")
    made.add_argument("--parent", metavar="NAME", help="Name of the key's parent; default: the recoverable key")
    _authorisations(made)

    made = verb("unregister", "forget an entry; older packages still hold it", unregister)
    _place(made)

    made = verb("retrieve", "get an entry back", retrieve)
    _place(made)
    made.add_argument(
        "--output", metavar="FILE", required=True, help="a new file; - is a pipe; a key goes to FILE.pub and FILE.priv"
    )
    _authorisations(made)

    made = verb("seal", "seal a secret below the recoverable key, and register it", seal)
    _place(made)
    made.add_argument("--data", metavar="FILE", required=True, help="at most 128 bytes; - is standard input")
    made.add_argument("--password", metavar="FILE", help="an authorisation of its own")
    made.add_argument("--policy", metavar="DIGEST", help="a policy instead, as 64 hexadecimal digits (SHA-256)")
    made.add_argument("--output", metavar="FILE", required=True, help="a new file: a TSS2 PRIVATE KEY")

    verb("keys", "what is registered", keys)


def _place(made: argparse.ArgumentParser) -> None:
    made.add_argument("--application", metavar="NAME", required=True, help="whose entry it is")
    made.add_argument("--label", metavar="LABEL", required=True, help="which of the application's entries")
    made.add_argument("--user", metavar="UID:NAME", help="an entry of this user; default: the system's")


def _authorisations(made: argparse.ArgumentParser) -> None:
    made.add_argument("--user-password", metavar="FILE", help="what the user's entries are protected by")
    made.add_argument("--owner-auth", metavar="FILE", help="the TPM's owner authorisation; - is standard input")
    made.add_argument("--endorsement-auth", metavar="FILE", help="the TPM's endorsement authorisation")


def _content(source: str, limit: int) -> bytes:
    content = sys.stdin.buffer.read(limit + 1) if source == "-" else read_file(Path(source), limit)
    if len(content) > limit:
        raise BadRequest(f"cannot use standard input: more than {limit} bytes")
    return content


def _order(arguments: argparse.Namespace, collected: tuple[str, ...] = ()) -> Order:
    """The act with what was given for it."""
    given = {name.replace("_", "-"): value for name, value in vars(arguments).items() if value is not None}
    inputs = {word: _content(given[word], limit) for word, limit in _CONTENTS.items() if word in given}
    inputs |= {word: read_secret(given[word], PROMPTS[word]) for word in _SECRETS if word in given}
    options = {name: given[name] for name in _OPTIONS if name in given}
    return Order(arguments.verb, arguments.config, options, inputs, collected, arguments.no_daemon)


def register(arguments: argparse.Namespace) -> Answer:
    """Register what was given; a password is asked for where nothing was."""
    order = _order(arguments)
    if not order.inputs.keys() & {PASSWORD, *_CONTENTS}:
        order.inputs[PASSWORD] = read_secret(None, PROMPTS[PASSWORD], confirm=True, option=f"--{PASSWORD}")
    _ask_user_password(order)
    return order.run()[0]


def _ask_user_password(order: Order) -> None:
    if "user" in order.options and USER_PASSWORD not in order.inputs and sys.stdin.isatty():
        order.inputs[USER_PASSWORD] = read_secret(None, PROMPTS[USER_PASSWORD])


def unregister(arguments: argparse.Namespace) -> Answer:
    """Forget an entry."""
    return _order(arguments).run()[0]


def retrieve(arguments: argparse.Namespace) -> Answer:
    """Write an entry to its file or files."""
    output = arguments.output
    if output == _STDOUT and (sys.stdout.isatty() or arguments.json):
        raise BadRequest("cannot show a secret: standard output is a terminal, or takes the answer; name a file")
    if output != _STDOUT and is_there(Path(output)):  # before anybody is asked, and while the job still has it
        raise FileExists(f"cannot create '{output}': file exists")
    order = _order(arguments, (PASSWORD, DATA, PUBLIC, PRIVATE))
    _ask_user_password(order)
    answer, values = order.run()
    words = answer.pop("collect")
    if len(words) == 2:
        if output == _STDOUT:
            raise BadRequest("cannot write a key's two areas to one pipe: name a file")
        create_file(Path(f"{output}.pub"), values[PUBLIC])
        create_file(Path(f"{output}.priv"), values[PRIVATE])
        return answer
    (word,) = words
    if output == _STDOUT:
        sys.stdout.buffer.write(values[word])
        sys.stdout.buffer.flush()
        return {}
    create_file(Path(output), values[word])
    return answer


def seal(arguments: argparse.Namespace) -> Answer:
    """Write a TSS2 PRIVATE KEY below the recoverable key."""
    order = _order(arguments, (PUBLIC, PRIVATE))
    answer, values = order.run()
    del answer["collect"], answer["parent-public"]
    der = tss2_private_key(
        values[PUBLIC],
        values[PRIVATE],
        int(answer["handle"], 16),
        sealed=True,
        empty_auth=not order.inputs.get(PASSWORD),
    )
    create_file(Path(arguments.output), tss2_pem(der))
    return answer


def keys(arguments: argparse.Namespace) -> Answer:
    """List what is registered, without values."""
    answer, _ = _order(arguments).run()
    say_of_none("lmsctl", answer["entries"], "nothing is registered here that is yours to see", arguments.json)
    return answer
