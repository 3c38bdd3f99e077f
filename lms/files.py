"""Files that survive a crash: atomic writes with fsync of file and directory, and one lock for a directory."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lms.errors import Busy, FileExists, FileProblem


@contextmanager
def _named(act: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileProblem(f"cannot {act} '{path}': {(error.strerror or str(error)).lower()}") from None


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. Raises FileProblem, also above `max_bytes`."""
    with _named("read", path), path.open("rb") as file:
        content = file.read(max_bytes + 1)
    return _within(content, path, max_bytes)


def read_regular_file(path: Path, max_bytes: int) -> bytes:
    """The same of what has to be a file, and never waits as a pipe does."""
    with _named("read", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "this is no regular file")
            content = file.read(max_bytes + 1)
    return _within(content, path, max_bytes)


def _within(content: bytes, path: Path, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise FileProblem(f"cannot read '{path}': more than {max_bytes} bytes")
    return content


def ensure_directory(path: Path) -> None:
    """The directory, mode 0700 where it is new."""
    with _named("make directory", path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)


def sync_directory(path: Path) -> None:
    """Make renames and creations in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftover(path: Path) -> None:
    """Remove what a crash of ours left; what somebody else put there is not ours to use or to remove."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise FileExistsError(errno.EEXIST, f"'{path.name}' beside it is somebody else's")
    path.unlink()


def settle_file(path: Path) -> None:
    """Remove what `create_file` or `link_file` left beside a file where it was cut. Raises FileProblem."""
    with _named("remove what a cut left beside", path):
        _remove_leftover(_beside(path))


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    """A durable file with this content beside `path`, to be renamed or linked to it."""
    temporary = _beside(path)
    _remove_leftover(temporary)
    # Made by us alone: in a shared directory, a file that is there already has another owner and open descriptors.
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return temporary


def write_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Replace a file: after a crash it holds the old bytes or the new ones. Raises FileProblem."""
    with _named("write", path):
        _write_beside(path, content, mode).replace(path)
        sync_directory(path.parent)


def create_file(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that must not exist yet: nothing that is there is ever replaced. Raises FileExists, FileProblem."""
    with _named("create", path):
        temporary = _write_beside(path, content, mode)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            raise FileExists(f"cannot create '{path}': file exists") from None
        finally:
            temporary.unlink()
        sync_directory(path.parent)


def link_file(path: Path, other: Path) -> None:
    """Give the bytes of a file a second name; what is there under it is replaced. Raises FileProblem."""
    with _named("link", other):
        temporary = _beside(other)
        _remove_leftover(temporary)
        temporary.hardlink_to(path)
        temporary.replace(other)
        temporary.unlink(missing_ok=True)  # a rename between two names of one file does nothing
        sync_directory(other.parent)


def remove_file(path: Path) -> None:
    """Remove a file; absent is success. Raises FileProblem."""
    with _named("remove", path):
        path.unlink(missing_ok=True)
        sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Make what another program wrote durable, its name too. Raises FileProblem."""
    with _named("write", path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        sync_directory(path.parent)


@contextmanager
def _held(lock: Path, what: Path) -> Iterator[int]:
    with _named("lock", what):
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"cannot use '{what}': another instance works on it") from None
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Iterator[int]:
    """Be the only one who works on a directory. Raises Busy where somebody else does.

    A program that gets the descriptor keeps the lock as long as it runs, whatever becomes of us.
    """
    ensure_directory(directory)
    with _held(directory / "lock", directory) as descriptor:
        yield descriptor


@contextmanager
def locked_beside(path: Path) -> Iterator[None]:
    """Be the only one who works on a file: the lock lies beside it, because it is replaced. Raises Busy."""
    with _held(path.with_name(f".{path.name}.lock"), path):
        yield
