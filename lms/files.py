"""Files that survive a crash: atomic writes with fsync of file and directory, and one lock for a directory.

Where another user may change a directory that we work in, `inside` holds it: whatever takes its name, we stay in it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lms.errors import Busy, FileExists, FileProblem

_HELD: Final = Path("/proc/self/fd")


@contextmanager
def _named(act: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileProblem(f"cannot {act} '{_shown(path)}': {(error.strerror or str(error)).lower()}") from None
    except ValueError:  # of pathlib, for `/` and the like
        raise FileProblem(f"cannot {act} '{path}': this is no file's name") from None


def _status(path: Path) -> os.stat_result | None:
    with _named("look for", path):
        try:
            return path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None


def is_there(path: Path) -> bool:
    """Whether something has this name, links followed. Raises FileProblem where nobody can say."""
    return _status(path) is not None


def is_directory(path: Path) -> bool:
    """Whether a directory has this name, links followed. Raises FileProblem where nobody can say."""
    found = _status(path)
    return found is not None and stat.S_ISDIR(found.st_mode)


def resolved(path: Path) -> Path:
    """The path without links, absolute; nothing needs to be there. Raises FileProblem."""
    with _named("look for", path):
        found = Path(os.path.realpath(path))
    is_there(found)
    return found


def files_of(directory: Path, suffix: str) -> list[Path]:
    """What has a name with this suffix in a directory, sorted; nothing where it is absent. Raises FileProblem."""
    if not is_directory(directory):
        return []
    with _named("look into", directory):
        return sorted(path for path in directory.iterdir() if path.name.endswith(suffix))


def _shown(path: Path) -> Path:
    """A path as a person knows it: of what is in a held directory, where that is."""
    return path.parent.resolve() / path.name if path.is_relative_to(_HELD) else path


@contextmanager
def inside(directory: Path, *names: str) -> Iterator[Path]:
    """A directory below another one, as a path that stays with it. Raises FileProblem, also where a name is a link."""
    held = _open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        for name in names:
            inner = _open(_HELD / str(held) / name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            os.close(held)
            held = inner
        yield _HELD / str(held)
    finally:
        os.close(held)


def _open(path: Path, flags: int) -> int:
    with _named("open", path):
        return os.open(path, flags | os.O_CLOEXEC)


def read_file(path: Path, max_bytes: int) -> bytes:
    """The bytes of a file. Raises FileProblem, also above `max_bytes`."""
    with _named("read", path), path.open("rb") as file:
        content = file.read(max_bytes + 1)
    return _within(content, path, max_bytes)


def read_regular_file(path: Path, max_bytes: int, *, links: bool = True) -> bytes:
    """The same of what has to be a file: nothing else is opened. Without `links` a link is none either."""
    with _named("read", path):
        held = os.open(path, os.O_PATH | os.O_CLOEXEC | (0 if links else os.O_NOFOLLOW))
        try:
            _require_regular(os.fstat(held).st_mode)
            with (_HELD / str(held)).open("rb") as file:
                content = file.read(max_bytes + 1)
        finally:
            os.close(held)
    return _within(content, path, max_bytes)


def _require_regular(mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "this is no regular file")


def _within(content: bytes, path: Path, max_bytes: int) -> bytes:
    if len(content) > max_bytes:
        raise FileProblem(f"cannot read '{_shown(path)}': more than {max_bytes} bytes")
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
            raise FileExists(f"cannot create '{_shown(path)}': file exists") from None
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


def remove_directory(path: Path) -> None:
    """Remove an empty directory. Raises FileProblem."""
    with _named("remove", path):
        path.rmdir()
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
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
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
