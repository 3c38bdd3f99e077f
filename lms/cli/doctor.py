"""`lmsctl doctor`: what is bound to this TPM, and would it survive?"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lms.apps.inventory.examining import Scope, examine
from lms.apps.inventory.losing import Event, losses
from lms.cli.running import acts_of
from lms.config import load_configuration
from lms.errors import WouldBeLost
from lms.terminal import complain, say_of_none

Answer = dict[str, Any]
Verb = Callable[..., argparse.ArgumentParser]
_NOTHING_BOUND: Final = "nothing was found that is bound to the TPM"
_NOTHING_LOST: Final = "nothing that was found would be lost"
_NOT_ALL_SEEN: Final = "nothing that was found would be lost, but not everything could be looked at"


def add_verbs(verb: Verb) -> None:
    """Its options."""
    made = verb("doctor", "what is bound to this TPM, and would it survive", _doctor)
    events = [event.value for event in Event]
    made.add_argument("--before", choices=events, help="say exactly what this would take away; exit code 7 if anything")
    made.add_argument("--path", metavar="PATH", action="append", default=[], help="look here, too: a file or directory")
    made.add_argument(
        "--device", metavar="DEVICE", action="append", default=[], help="a LUKS volume, or its header file"
    )


def _doctor(arguments: argparse.Namespace) -> Answer:
    examined = examine(acts_of(arguments), _scope(arguments))
    if arguments.before is None:
        answer = examined.answer()
        say_of_none("lmsctl", answer["bound"], _NOTHING_BOUND, arguments.json)
        return answer
    answer = losses(Event(arguments.before), examined)
    loses, unseen = len(answer["loses"]), len(answer["unseen"])
    if loses or unseen:
        words = f"{_counted(loses)} would be lost" if loses else f"{_counted(unseen)} could not be looked at"
        arguments.exit_code = complain("lmsctl", WouldBeLost(f"cannot lose this TPM yet: {words}"), as_json=False)
    say_of_none("lmsctl", answer["loses"], _NOT_ALL_SEEN if unseen else _NOTHING_LOST, arguments.json)
    return answer


def _counted(things: int) -> str:
    return "one thing" if things == 1 else f"{things} things"


def _scope(arguments: argparse.Namespace) -> Scope:
    config = load_configuration(arguments.config)
    copies = (*config.archives, *(() if config.recovery is None else (config.recovery,)))
    paths, devices = (tuple(map(Path, given)) for given in (arguments.path, arguments.device))
    token = config.recovery_token.device or config.recovery_token.path
    return Scope(config.drsk_handle, config.applications_directory, copies, paths, devices, token)
