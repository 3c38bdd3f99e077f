"""Who answers where systemd asks for a password: an agent as its Password Agents Specification describes it."""

from __future__ import annotations

import ctypes
import os
import select
import socket
import threading
from configparser import RawConfigParser
from pathlib import Path

ASKED_AT = "/run/systemd/ask-password"
_CLOSED_OR_MOVED = 0x8 | 0x80  # IN_CLOSE_WRITE, IN_MOVED_TO


class PasswordAgent:
    """Answers each question with the next word; None cancels it. `asked` are the questions, with their identities.

    `directory` takes the place of ASKED_AT for a program that is started by `seen_by`: no other agent sees it.
    """

    def __init__(self, directory: Path, *answers: bytes | None) -> None:
        self.asked: list[tuple[str, str]] = []
        self._directory = directory
        self._answers = list(answers)
        self._seen: set[str] = set()
        self._ends, self._end = os.pipe()
        self._thread = threading.Thread(target=self._serve)

    def seen_by(self, *command: object) -> list[str]:
        """What starts a program so that its questions come here."""
        script = f'mkdir -p {ASKED_AT} && mount --bind "$0" {ASKED_AT} && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self._directory), *map(str, command)]

    def __enter__(self) -> PasswordAgent:
        self._directory.mkdir(exist_ok=True)
        libc = ctypes.CDLL(None, use_errno=True)
        self._watch = libc.inotify_init1(os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._watch, bytes(self._directory), _CLOSED_OR_MOVED) > 0
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._end)
        self._thread.join()
        for descriptor in (self._ends, self._watch):
            os.close(descriptor)

    def _serve(self) -> None:
        while self._ends not in select.select([self._watch, self._ends], [], [])[0]:
            os.read(self._watch, 65536)
            for path in self._directory.glob("ask.*"):
                self._look(path)

    def _look(self, path: Path) -> None:
        question = RawConfigParser()
        if path.name in self._seen or not question.read(path) or not self._answers:
            return
        self._seen.add(path.name)
        ask = question["Ask"]
        self.asked.append((ask["Id"], ask["Message"]))
        answer = self._answers.pop(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reply:
            reply.connect(str(self._directory / Path(ask["Socket"]).name))
            reply.send(b"-" if answer is None else b"+" + answer)
