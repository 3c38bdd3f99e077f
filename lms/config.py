"""Configuration: `/etc/lms/lms.toml` and `lms.toml.d/*.toml`, later files over earlier ones (DESIGN §4).

An unknown or bad key is refused with file, key and line. `SETTINGS` is the literal list of all keys, those of a
table with its name and a dot before them; the manual's table is made from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lms.errors import BadConfiguration
from lms.files import files_of, is_there, read_file
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm
from lms.names import (
    DEFAULT_APPLICATIONS_DIRECTORY,
    DEFAULT_AUTHORITY_DIRECTORY,
    DEFAULT_CONFIG,
    DEFAULT_RECOVERY_DIRECTORY,
    DEFAULT_STATE_DIRECTORY,
    DEFAULT_STATION_DIRECTORY,
)

_MAX_BYTES: Final = 1024 * 1024
_OWNER_HANDLES: Final = range(0x81000000, 0x81800000)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens; `host` is a name or an address without brackets."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Where a token is looked for at boot: a file, or one of the file system on a block device that may be absent."""

    device: Path | None
    path: Path

    def __str__(self) -> str:
        return str(self.path) if self.device is None else f"{self.path} on {self.device}"


@dataclass(frozen=True, slots=True)
class AuthorityConfiguration:
    """The table `authority`: a Migration Authority on this machine. Without `tcti` its keys are kept in software."""

    state_directory: Path = Path(DEFAULT_AUTHORITY_DIRECTORY)
    listen: Endpoint = Endpoint("::", 8443)
    store: str | None = None
    tcti: str | None = None
    retention_days: int = 90
    quota_mib: int = 1024
    ek_roots: tuple[Path, ...] = ()

    @property
    def store_url(self) -> str:
        """Where packages are kept, as SQLAlchemy spells it: by default a file in the state directory."""
        return self.store or f"sqlite:///{self.state_directory / 'vault.sqlite'}"


@dataclass(frozen=True, slots=True)
class StationConfiguration:
    """The table `station`: a station of the MSA on this machine."""

    state_directory: Path = Path(DEFAULT_STATION_DIRECTORY)
    trust_list: Path | None = None
    ek_roots: tuple[Path, ...] = ()

    @property
    def register(self) -> Path:
        """The newest trust list; what else is kept of approvals lies beside it."""
        return self.trust_list or self.state_directory / "trust.xml"


@dataclass(frozen=True, slots=True)
class Configuration:
    """All settings; `ek_roots` holds PEM files or directories of them.

    `given` tells where each key stands that was given: file, line and key.
    """

    tcti: str = "device:/dev/tpmrm0"
    state_directory: Path = Path(DEFAULT_STATE_DIRECTORY)
    algorithm: Algorithm = Algorithm.ECC_P256
    srk_handle: int = SRK_HANDLE
    drsk_handle: int = DRSK_HANDLE
    ek_roots: tuple[Path, ...] = ()
    archives: tuple[Path, ...] = ()
    bus: str = "system"
    recovery_directory: Path | None = None
    recovery_token: TokenPlace = TokenPlace(Path("/dev/disk/by-label/LMS-TOKEN"), Path("token.xml"))
    restore_unasked: bool = True
    applications_directory: Path = Path(DEFAULT_APPLICATIONS_DIRECTORY)
    authority: AuthorityConfiguration = field(default_factory=AuthorityConfiguration)
    station: StationConfiguration = field(default_factory=StationConfiguration)
    given: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def where(self, key: str) -> str:
        """Where a key stands, for who finds its value bad later than we do."""
        return self.given.get(key, f"key '{key}'")

    @property
    def recovery(self) -> Path | None:
        """Where sheet and newest package lie for a machine that cannot open its root; only its own service has one."""
        own = self.state_directory == Path(DEFAULT_STATE_DIRECTORY)
        return self.recovery_directory or (Path(DEFAULT_RECOVERY_DIRECTORY) if own else None)


@dataclass(frozen=True, slots=True)
class Setting:
    """One key: how its value is read, and what it is for."""

    read: Callable[[Any], Any]
    meaning: str


@dataclass(frozen=True, slots=True)
class _Given:
    """A value, and where it stands: file, line and key."""

    value: Any
    where: str


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text")
    return value


def _path(value: Any) -> Path:
    path = Path(_text(value))
    if not path.is_absolute():
        raise ValueError("expected an absolute path")
    return path


def _paths(value: Any) -> tuple[Path, ...]:
    if not isinstance(value, list):
        raise ValueError("expected a list of absolute paths")  # noqa: TRY004 - the reader's one kind of error
    return tuple(_path(item) for item in value)


def _handle(value: Any) -> int:
    if type(value) is not int or value not in _OWNER_HANDLES:
        raise ValueError("expected a persistent handle of the owner, 0x81000000 to 0x817fffff")
    return value


def _matching(pattern: str, expected: str) -> Callable[[Any], str]:
    """Reads a text of this form; `expected` says it to a person. It is not quoted: a URL may hold a password."""

    def read(value: Any) -> str:
        if not re.fullmatch(pattern, _text(value)):
            raise ValueError(f"expected {expected}")
        return str(value)

    return read


_tcti: Final = _matching(
    "device:(/.+)?|swtpm:(path=[^,]+|host=[^,]+,port=[0-9]+|port=[0-9]+,host=[^,]+)",
    "device:/dev/tpmrm0, swtpm:path=SOCKET or swtpm:host=HOST,port=PORT",
)
_bus: Final = _matching(
    "system|session|unix:.*(path|abstract)=.+", "'system', 'session' or an address like unix:path=SOCKET"
)
_store: Final = _matching("sqlite:///[^?]+|postgresql:.+", "sqlite:///PATH or a postgresql: URL")


def _count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("expected a whole number from 1 on")
    return value


def _endpoint(value: Any) -> Endpoint:
    host, _, port = _text(value).rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 <= int(port) < 1 << 16:
        raise ValueError("expected HOST:PORT, an IPv6 address in brackets")
    return Endpoint(host, int(port))


def _token_place(value: Any) -> TokenPlace:
    """A medium as fstab names it, and a file on it; or a file."""
    found = re.fullmatch(r"(LABEL|UUID|PARTLABEL|PARTUUID)=([\w.:+=@-]+)/(.+)", _text(value), re.ASCII)
    if found is None:
        return TokenPlace(None, _path(value))
    kind, name, path = found.groups()
    return TokenPlace(Path("/dev/disk", f"by-{kind.lower()}", name), Path(path.lstrip("/")))


def _flag(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("expected true or false")
    return value


def _algorithm(value: Any) -> Algorithm:
    try:
        return Algorithm(value)
    except ValueError:
        raise ValueError("expected one of " + ", ".join(repr(a.value) for a in Algorithm)) from None


SETTINGS: Final = {
    "tcti": Setting(_tcti, "how to reach the TPM: device:/dev/tpmrm0, swtpm:path=SOCKET or swtpm:host=HOST,port=PORT"),
    "state_directory": Setting(_path, "where state lives, mode 0700"),
    "algorithm": Setting(_algorithm, "of SRK and DRSK, fixed at provisioning: ecc-p256 or rsa-2048"),
    "srk_handle": Setting(_handle, "persistent handle of the SRK, fixed at provisioning"),
    "drsk_handle": Setting(_handle, "persistent handle of the DRSK, fixed at provisioning: consumers store it"),
    "ek_roots": Setting(_paths, "CA certificates of TPM makers: PEM files, or directories of them"),
    "archives": Setting(_paths, "Backup Archives: directories that get a copy of every package"),
    "bus": Setting(_bus, "the message bus of lmsd: system, session, or the address of a private one"),
    "recovery_directory": Setting(_path, "where recovery sheet and newest package are copied to, outside the root"),
    "recovery_token": Setting(
        _token_place, "where a token is looked for at boot: LABEL=NAME/FILE or UUID=…/FILE of a medium, or a file"
    ),
    "restore_unasked": Setting(_flag, "whether lmsd asks the authorities by itself when it starts and keys are gone"),
    "applications_directory": Setting(_path, "where `lmsctl luks` keeps journal and backup of a change; root's"),
    "authority.state_directory": Setting(_path, "where a Migration Authority keeps its keys, mode 0700"),
    "authority.listen": Setting(_endpoint, "where it listens: HOST:PORT, an IPv6 address in brackets"),
    "authority.store": Setting(_store, "where it keeps packages: an SQLAlchemy URL; default: SQLite in its directory"),
    "authority.tcti": Setting(_tcti, "its TPM; without one its keys are kept in software"),
    "authority.retention_days": Setting(_count, "how long a package stays after its deletion was asked for"),
    "authority.quota_mib": Setting(_count, "how many MiB of packages it keeps for one platform"),
    "authority.ek_roots": Setting(_paths, "CA certificates of the TPM makers that it accepts"),
    "station.state_directory": Setting(_path, "where a station of the MSA keeps its key, mode 0700"),
    "station.trust_list": Setting(_path, "its register: the newest trust list; default: trust.xml in its directory"),
    "station.ek_roots": Setting(_paths, "CA certificates of the TPM makers that it accepts"),
}
_TABLES: Final = {"authority": AuthorityConfiguration, "station": StationConfiguration}


def _line_of(text: str, key: str) -> int:
    table, _, last = key.rpartition(".")
    within = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[+\s*([^\]\s]+)\s*\]", line):
            within = header[1].replace('"', "").replace("'", "")
            if _is_of(key, within):
                return number
        elif found := re.match(r"\s*([^=#]+?)\s*=", line):
            said = found[1].replace('"', "").replace("'", "")
            name = f"{within}.{said}" if within else said
            if _is_of(key, name) or (name == table and last in line):
                return number
    return 1


def _is_of(key: str, name: str) -> bool:
    """Whether a name is that of the key, or of something below it."""
    return f"{name}.".startswith(f"{key}.")


def _keys(plain: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in plain.items():
        if key in _TABLES and isinstance(value, dict):
            yield from ((f"{key}.{name}", inner) for name, inner in value.items())
        else:
            yield key, value


def _read_one(path: Path) -> dict[str, _Given]:
    import tomllib  # a look at boot, on a machine without a configuration, is done before this is loaded

    content = read_file(path, _MAX_BYTES)
    try:
        text = content.decode("utf-8")
        plain = tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadConfiguration(f"cannot read '{path}': it is no UTF-8 (at line {line})") from None
    except tomllib.TOMLDecodeError as error:
        raise BadConfiguration(f"cannot read '{path}': {error}") from None
    given = {}
    for key, value in _keys(plain):
        where = f"'{path}', line {_line_of(text, key)}, key '{key}'"
        try:
            given[key] = _Given(SETTINGS[key].read(value), where)
        except (KeyError, ValueError) as error:
            reason = "there is no such key" if isinstance(error, KeyError) else error
            raise BadConfiguration(f"cannot accept {where}: {reason}") from None
    return given


def drop_ins_of(main: Path) -> Path:
    """The directory of the files that go over a configuration."""
    return Path(f"{main}.d")


def load_configuration(path: Path | str | None) -> Configuration:
    """The configuration in a file and its `.d` directory; without a path the default file, which may be absent.

    Raises BadConfiguration, FileProblem.
    """
    main = Path(DEFAULT_CONFIG if path is None else path)
    files = [main] if is_there(main) or path is not None else []
    files += files_of(drop_ins_of(main), ".toml")
    given: dict[str, _Given] = {}
    for file in files:
        given |= _read_one(file)
    values = {key: one.value for key, one in given.items()}
    for table, make in _TABLES.items():
        within = [key for key in values if key.startswith(f"{table}.")]
        values[table] = make(**{key.removeprefix(f"{table}."): values.pop(key) for key in within})
    configuration = Configuration(**values, given={key: one.where for key, one in given.items()})
    if configuration.srk_handle == configuration.drsk_handle:
        where = configuration.where("drsk_handle" if "drsk_handle" in given else "srk_handle")
        raise BadConfiguration(f"cannot accept {where}: srk_handle and drsk_handle are the same")
    return configuration
