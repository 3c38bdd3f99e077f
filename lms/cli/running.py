"""How `lmsctl` runs an act: as a job of `lmsd` where there is one, else at once by `lms.boot` (DESIGN §4, §5).

Answers, errors and exit codes are the same either way. Inputs pass by descriptor; what is missing is asked for.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from lms.apps.acts import Acts
from lms.cli.following import PROMPTS, Follower
from lms.cli.patience import shown_steps
from lms.cli.service import Service
from lms.config import load_configuration
from lms.errors import OwnerAuthFailed
from lms.model.jobs import JobState
from lms.model.keys import digits
from lms.names import APPROVAL, OWNER_AUTH
from lms.process import run_collecting
from lms.terminal import read_secret
from lms.wire.restoration import read_restore_request

Answer = dict[str, Any]
_NOTHING: Final[Mapping[str, bytes]] = MappingProxyType({})
_JOB: Final = 2
"""How many values a verb returns that makes a job: its number and its path."""


def bus_of(config: str | None) -> str:
    """The bus that a configuration names. Raises BadConfiguration, FileProblem."""
    return load_configuration(config).bus


@dataclass(slots=True)
class Order:
    """One act: its verb, options and inputs by their words; `collected` are the words it may hand out.

    `no_daemon`: act here and now, even if a daemon could be asked. `part`: of something larger that this program does.
    """

    verb: str
    config: str | None
    options: Mapping[str, Any]
    inputs: dict[str, bytes] = field(default_factory=dict)
    collected: tuple[str, ...] = ()
    no_daemon: bool = False
    part: bool = False

    def run(self) -> tuple[Answer, dict[str, bytes]]:
        """The answer, and what was handed out by its words. Raises the act's errors."""
        service = None if self.no_daemon else Service.reach(bus_of(self.config))
        with shown_steps() as tell:
            if service is not None:
                with service:
                    return self._by_service(service, tell)
            return self._here(tell)

    def _by_service(self, service: Service, tell: Callable[[str], None]) -> tuple[Answer, dict[str, bytes]]:
        member = "".join(word.capitalize() for word in self.verb.split("-"))
        found = service.ask(member, self.options, self.inputs)
        if len(found) < _JOB:
            return found[0], {}
        _, path = found
        by_hand = bool(self.options.get("request"))
        job = Follower(service, path, self.inputs, tell, until_approval=by_hand, part=self.part).follow()
        if job.state is JobState.WAITING:
            return _request(service.collect(path, APPROVAL)) | {"job": job.number}, {}
        offered = job.answer.get("collect", ())
        return job.answer, {word: service.collect(path, word) for word in offered if word in self.collected}

    def _here(self, tell: Callable[[str], None]) -> tuple[Answer, dict[str, bytes]]:
        try:
            return self._once(tell)
        except OwnerAuthFailed:
            if OWNER_AUTH in self.inputs or not sys.stdin.isatty():
                raise
            self.inputs[OWNER_AUTH] = read_secret(None, PROMPTS[OWNER_AUTH])
            return self._once(tell)

    def _once(self, tell: Callable[[str], None]) -> tuple[Answer, dict[str, bytes]]:
        config = [] if self.config is None else ["--config", self.config]
        inputs = self.inputs | {"options": json.dumps(dict(self.options)).encode()}
        given = run_collecting("lms.boot", [self.verb, *config], inputs, self.collected, tell)
        return _said(json.loads(given.pop("answer"))), given


def acts_of(arguments: argparse.Namespace) -> Acts:
    """How a room of `lms.apps` has its acts done: as this command line says, with `lmsd` or without it."""

    def act(
        verb: str, options: Mapping[str, Any], inputs: Mapping[str, bytes] = _NOTHING, collected: tuple[str, ...] = ()
    ) -> tuple[Answer, dict[str, bytes]]:
        return Order(verb, arguments.config, options, dict(inputs), collected, arguments.no_daemon, part=True).run()

    return act


def _request(document: bytes) -> Answer:
    """A restore request that is carried by hand, as `lms.boot` answers it."""
    shown = digits(read_restore_request(document).request_id)
    return {"waiting": APPROVAL, "request": shown, "document": base64.b64encode(document).decode("ascii")}


def _said(value: Any) -> Any:
    """An answer without what is absent, as it comes over a bus, which has no word for it."""
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items() if item is not None}
    return [_said(item) for item in value] if isinstance(value, list) else value
