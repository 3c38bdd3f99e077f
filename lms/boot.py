"""The acts of the service without a bus: one act, then the end. For rescue systems, early boot, and machines
where no daemon runs (DESIGN §5).

    python3 -I -m lms.boot VERB [--config FILE] --options=FD [--WORD=FD …] [--collect-WORD=FD …] --answer=FD

`options` is a JSON object of the verb's long options, the words of secrets are those of DESIGN §4; the answer
is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from lms.assembly import assembled
from lms.config import load_configuration
from lms.errors import BadRequest, LmsError
from lms.model.secret import Secret
from lms.names import (
    APPROVAL,
    DATA,
    ENDORSEMENT_AUTH,
    GRANT,
    OWNER,
    OWNER_AUTH,
    PACKAGE,
    PASSWORD,
    PRIVATE,
    PUBLIC,
    SENSITIVE,
    SHEET,
    TOKEN,
    TOKEN_PASSWORD,
    USER_PASSWORD,
)
from lms.process import harden, provided_secrets, read_descriptor, report, report_step
from lms.service.acts import ACTS, ALONE, Call

_ACTS: Final = {**ACTS, **ALONE}
_COLLECTED: Final = (PASSWORD, DATA, PUBLIC, PRIVATE)
_WORDS: Final = (
    OWNER_AUTH, ENDORSEMENT_AUTH, TOKEN, TOKEN_PASSWORD, OWNER, PACKAGE, GRANT, SHEET, APPROVAL, USER_PASSWORD,
    SENSITIVE, *_COLLECTED,
)  # fmt: skip


def _hand_out(word: str, secret: Secret, descriptor: int | None) -> None:
    if descriptor is None:
        raise BadRequest(f"cannot hand out '{word}': nothing was named to take it")
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret.reveal())


def main() -> int:
    """Do one act."""
    harden()
    parser = argparse.ArgumentParser(prog="lms.boot")
    parser.add_argument("act", choices=tuple(_ACTS))
    parser.add_argument("--config", type=Path)
    for word in (*_WORDS, *(f"collect-{word}" for word in _COLLECTED), "options", "answer"):
        parser.add_argument(f"--{word}", type=int, metavar="FD", required=word in ("options", "answer"))
    arguments = vars(parser.parse_args())
    try:
        configuration = load_configuration(arguments["config"])
        standing = provided_secrets(OWNER_AUTH, ENDORSEMENT_AUTH)
        given = {w: Secret(read_descriptor(fd)) for w in _WORDS if (fd := arguments[w.replace("-", "_")]) is not None}
        call = Call(json.loads(read_descriptor(arguments["options"])), standing | given)
        with assembled(configuration, call.secret(ENDORSEMENT_AUTH)) as setting:
            setting.store.sweep()
            answer = _ACTS[arguments["act"]](call, replace(setting, step=report_step))
        for word, secret in call.offered.items():
            _hand_out(word, secret, arguments[f"collect_{word}"])
        with os.fdopen(arguments["answer"], "w", encoding="utf-8") as file:
            json.dump(answer, file)
    except LmsError as error:
        report(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
