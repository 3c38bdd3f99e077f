"""Our own programs: hardening this one, what systemd gave it, starting another one.

Secrets and documents go in by descriptor, the answer comes back by one. An error is the last line on stderr,
`ClassName: text`; it is raised here with the class that it had there. Lines `step: text` before it are progress.
"""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lms import errors
from lms.errors import FileProblem, LmsError, ProgramNotStarted
from lms.model.secret import Secret

_MAX_ANSWER: Final = 128 * 1024 * 1024
_PR_SET_DUMPABLE: Final = 4
_STEP: Final = "step: "
_NOTHING: Final = Secret(b"")
# Root's programs at boot are the distribution's: who may write to /usr/local is more often not root alone.
_SYSTEM_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"


def harden() -> None:
    """The first act of every program that secrets pass through; a program that it starts has to do it again.

    Files that it makes are its user's alone. It leaves no core file, and is not dumpable: no other program of the
    same user traces it or reads its memory, and its files in /proc are root's.
    """
    os.umask(0o077)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot harden this process")


def provided_secrets(*words: str) -> dict[str, Secret]:
    """Those of these secrets that an administrator gave this program, as systemd credentials `lms.WORD` (PROTOCOL §2).

    One final newline is not part of them. Raises FileProblem.
    """
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    found = {}
    for word in words if directory else ():
        path = Path(str(directory), f"lms.{word}")
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FileProblem(f"cannot read '{path}': {(error.strerror or str(error)).lower()}") from None
        found[word] = Secret(content.removesuffix(b"\n").removesuffix(b"\r"))
    return found


def descriptor_with(content: bytes) -> int:
    """A memory file with this content, positioned at its start; the caller closes it."""
    descriptor = os.memfd_create("lms", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


@contextmanager
def in_memory(content: bytes) -> Iterator[str]:
    """A path to content that is on no disk, for libraries that take a file by its name alone."""
    descriptor = descriptor_with(content)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def read_descriptor(descriptor: int) -> bytes:
    """All bytes of a descriptor, which is closed."""
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def run_program(module: str, arguments: list[str], inputs: dict[str, bytes]) -> bytes:
    """The answer of `python3 -m MODULE ARGUMENTS --WORD=FD… --answer=FD`.

    Raises the error that it reports, and ProgramNotStarted.
    """
    return run_collecting(module, arguments, inputs, ())["answer"]


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program that is not ours ended: its exit code, its output, and what it said on stderr."""

    code: int
    out: bytes
    said: str


def run_command(program: str, *words: str | Secret, kept: tuple[int, ...] = (), given: Secret = _NOTHING) -> Ran:
    """Run a program that is not ours; a Secret among its words is handed over as the path of a descriptor.

    It reads `given` from standard input, and holds the descriptors `kept` open as long as it runs. Raises
    ProgramNotStarted.
    """
    with ExitStack() as closing:
        passed = {}
        for at, word in enumerate(words):
            if isinstance(word, Secret):
                passed[at] = descriptor_with(word.reveal())
                closing.callback(os.close, passed[at])
        spelled = [f"/dev/fd/{passed[at]}" if at in passed else str(word) for at, word in enumerate(words)]
        stdin = descriptor_with(given.reveal())
        closing.callback(os.close, stdin)
        try:
            done = subprocess.run(
                [program, *spelled],
                env={"PATH": _SYSTEM_PATH, "LC_ALL": "C.UTF-8"},
                pass_fds=(*passed.values(), *kept),
                stdin=stdin,
                capture_output=True,
                check=False,
            )
        except OSError as error:
            raise ProgramNotStarted(f"cannot start '{program}': {(error.strerror or str(error)).lower()}") from None
    said = " ".join(done.stderr.decode("utf-8", "replace").split())
    return Ran(done.returncode, done.stdout, said)


def unheard(step: str) -> None:
    """Nobody looks on."""


def run_collecting(
    module: str,
    arguments: list[str],
    inputs: dict[str, bytes],
    collected: tuple[str, ...],
    told: Callable[[str], None] = unheard,
) -> dict[str, bytes]:
    """The same, and what the program hands out at `--collect-WORD=FD`; by word, its answer under `answer`.

    `told` hears of its steps.
    """
    outputs = ("answer", *(f"collect-{word}" for word in collected))
    with ExitStack() as closing:
        passed = []
        words = []
        for word, content in (inputs | dict.fromkeys(outputs, b"")).items():
            descriptor = descriptor_with(content)
            closing.callback(os.close, descriptor)
            passed.append(descriptor)
            words.append(f"--{word}={descriptor}")
        code, last = _run([sys.executable, "-I", "-m", module, *arguments, *words], passed, told)
        if code != 0:
            raise _reported(module, last)
        answers = (_written(descriptor) for descriptor in passed[-len(outputs) :])
        return dict(zip(("answer", *collected), answers, strict=True))


def _run(command: list[str], passed: list[int], told: Callable[[str], None]) -> tuple[int, str]:
    """The exit code, and the last line on stderr."""
    last = ""
    with _started(command, passed) as process:
        assert process.stderr is not None
        for line in process.stderr:
            last = line.strip() or last
            if line.startswith(_STEP):
                told(line.removeprefix(_STEP).strip())
    return process.returncode, last


def _started(command: list[str], passed: list[int]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command,
            pass_fds=passed,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ProgramNotStarted(f"cannot start '{command[3]}': {reason}") from None


def _written(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        return file.read(_MAX_ANSWER)


def _reported(module: str, last: str) -> LmsError:
    name, _, text = last.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, LmsError):
        return kind(text)
    # A name and no text: what went wrong unexpectedly may have a secret in its words.
    defect = f" with {name}" if name.isidentifier() else ""
    return LmsError(f"cannot go on: {module} failed unexpectedly{defect}")


def report_step(text: str) -> None:
    """Tell the program that started this one what comes next."""
    sys.stderr.write(f"{_STEP}{text}\n")
    sys.stderr.flush()


def report(error: LmsError) -> None:
    """Report an error to the program that started this one."""
    sys.stderr.write(f"{type(error).__name__}: {error}\n")
