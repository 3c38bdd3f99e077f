"""A machine that was really booted: QEMU without KVM, a TPM on its board, a second disk, a console and a shell.

The root disk is a layer over the one that `tools/guest` makes, so every guest begins with the same. Its way to other
machines ends at one port of the host, `reaches`, which it finds at AUTHORITY_ADDRESS.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.support.authority import kept_port
from tests.support.console import Console
from tests.support.swtpm import BoardTpm, LocalCa

AUTHORITY_ADDRESS = "https://10.0.2.100:8443"
LUKS_DISK = "/dev/disk/by-id/virtio-luks"
UP = "Reached target multi-user.target"
_COMMAND_LINE = (
    "rw console=ttyS0 TERM=dumb net.ifnames=0 systemd.show_status=1 "
    "panic=-1 mitigations=off tsc=reliable random.trust_cpu=on"
)
_SSH_FAILED = 255
_HANGS_S = 900  # whatever takes longer never ends


class GuestRefused(Exception):
    """A command in the guest ended with something else than 0."""


@dataclass(frozen=True)
class Parts:
    """What `tools/guest` made."""

    kernel: Path
    initrd: Path
    disk: Path

    @property
    def keys(self) -> Path:
        """Directory of the keys of ssh: `login`, and the guest's own in `known_hosts`."""
        return self.disk.parent / "ssh"


class Guest:
    """One machine whose disks and TPMs lie below `directory`; it is off until `start`.

    `reaches` is a port of this host. `tpm` names the TPM on the board, a directory below `directory`; while the
    machine is off it can be changed, and `replace_tpm` does that to one that knows nothing. `encrypted_root` is the
    UUID of the LUKS volume with the root, which an initrd opens; where there is none its root is /dev/vda.
    """

    def __init__(self, directory: Path, parts: Parts, maker: Path, *, reaches: int | None = None) -> None:
        self.directory, self.parts, self.maker, self.reaches = directory, parts, LocalCa(maker), reaches
        self.tpm = directory / "tpm1"
        self.encrypted_root: str | None = None
        self.console: Console | None = None
        self._board: BoardTpm | None = None
        self._machine: subprocess.Popen[bytes] | None = None
        self._ending = ExitStack()
        self._port = self._ending.enter_context(kept_port())
        # A socket's path is at most 107 bytes long.
        self._shell = Path(self._ending.enter_context(TemporaryDirectory(prefix="guest-"))) / "ssh"

    # Parts

    def make(self) -> Guest:
        """A new machine: nothing on its disks but what was installed, a TPM from the factory."""
        self.directory.mkdir(parents=True, exist_ok=True)
        layer = ("-b", str(self.parts.disk), "-F", "raw", str(self.root_disk))
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *layer], check=True)
        with self.luks_disk.open("wb") as disk:
            disk.truncate(2 << 30)
        self._manufacture()
        return self

    def copy_to(self, directory: Path, *, reaches: int | None = None) -> Guest:
        """Another machine with the same disks and TPMs; this one is off."""
        assert self._machine is None
        shutil.copytree(self.directory, directory, dirs_exist_ok=True)
        copy = Guest(directory, self.parts, self.maker.directory, reaches=reaches)
        copy.tpm, copy.encrypted_root = directory / self.tpm.name, self.encrypted_root
        return copy

    @property
    def root_disk(self) -> Path:
        """/dev/vda: what it has over `parts.disk`, as qcow2."""
        return self.directory / "root.qcow2"

    @property
    def luks_disk(self) -> Path:
        """LUKS_DISK, raw, zeros in the beginning, and large enough for a root."""
        return self.directory / "luks.img"

    @property
    def stick(self) -> Path:
        """A removable medium, where one is plugged in."""
        return self.directory / "stick.img"

    def plug(self, label: str, **files: bytes) -> None:
        """Plug a medium in as shops sell them, with this label and these files; `_` stands for a dot in their names."""
        assert self._machine is None
        with TemporaryDirectory(prefix="stick-") as folder:
            for name, content in files.items():
                Path(folder, name.replace("_", ".")).write_bytes(content)
            with self.stick.open("wb") as disk:
                disk.truncate(8 << 20)
            subprocess.run(["mkfs.vfat", "-n", label, self.stick], check=True, stdout=subprocess.DEVNULL)
            subprocess.run(["mcopy", "-i", self.stick, *Path(folder).iterdir(), "::"], check=True)

    def unplug(self) -> None:
        """Take it out."""
        assert self._machine is None
        self.stick.unlink()

    def replace_tpm(self) -> None:
        """Another board, whose TPM comes from the same maker."""
        assert self._machine is None
        self.tpm = self.directory / f"tpm{len(list(self.directory.glob('tpm*'))) + 1}"
        self._manufacture()

    def _manufacture(self) -> None:
        board = BoardTpm(self.tpm)
        board.manufacture(self.maker.directory)
        board.remove()

    # Power

    def start(self, more: str = "", *, wait: bool = True) -> Guest:
        """Switch it on, with `more` on the kernel's command line.

        `wait` until it is up and answers; otherwise `await_up` does that later.
        """
        assert self._machine is None
        self._board = BoardTpm(self.tpm).start()
        self.console = Console()
        self._machine = subprocess.Popen(
            ["qemu-system-x86_64", *self._qemu(more, self._board.control, self.console.plug.fileno())],
            pass_fds=(self.console.plug.fileno(),),
            stdin=subprocess.DEVNULL,
        )
        self.console.begin()
        if wait:
            self.await_up()
        return self

    def await_up(self) -> None:
        """Return when multi-user.target is reached and the shell is there."""
        assert self.console is not None
        self.console.wait(UP, _HANGS_S)
        subprocess.run(
            [*self._ssh("-M", "-f", "-N"), "guest"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def await_all(self) -> None:
        """Return when nothing of the boot is still to be started, not even what no target waits for."""
        self.run("systemctl is-system-running --wait", check=False)

    def stop(self) -> None:
        """Shut it down, as a person would."""
        with suppress(ConnectionError):  # its shell may be gone before it says good-bye; being off is the answer
            self.run("systemctl poweroff --no-block")
        self._off()

    def kill(self) -> None:
        """Cut its power: what it had not written to its disks and its TPM is gone."""
        if self._machine is not None:
            self._machine.kill()
            self._off()

    def reboot(self, more: str = "") -> None:
        """Off and on again; the TPM starts anew, too."""
        self.stop()
        self.start(more)

    def remove(self) -> None:
        """Cut its power and throw it away."""
        self.kill()
        self._ending.close()
        shutil.rmtree(self.directory)

    def _off(self) -> None:
        assert self._machine is not None
        assert self._board is not None
        assert self.console is not None
        self._machine.wait(_HANGS_S)
        self._machine = None
        self._board.remove()
        self.console.end()
        subprocess.run([*self._ssh("-O", "exit"), "guest"], check=False, capture_output=True)

    def _qemu(self, more: str, tpm: Path, console: int) -> list[str]:
        network = f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22"
        if self.reaches is not None:
            network += f",guestfwd=tcp:10.0.2.100:8443-cmd:socat STDIO TCP:127.0.0.1:{self.reaches}"
        root = "root=/dev/vda"
        if self.encrypted_root is not None:
            opened = f"rd.luks.name={self.encrypted_root}=root rd.luks.options=tpm2-device=auto"
            root = f"root=/dev/mapper/root {opened}"
        disk = "if=none,cache=writeback,discard=unmap"
        plugged = ("-drive", f"{disk},id=stick,format=raw,file={self.stick}", "-device", "virtio-blk-pci,drive=stick")
        return [
            "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
            "-machine", "q35,usb=off,vmport=off,hpet=off",
            "-accel", "tcg,thread=multi", "-cpu", "max,-cx16",  # that instruction is not reliable in QEMU 7.2
            "-smp", "2", "-m", "1024",
            "-kernel", str(self.parts.kernel), "-append", f"{root} {_COMMAND_LINE} {more}",
            *(("-initrd", str(self.parts.initrd)) if self.encrypted_root is not None else ()),
            "-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console",
            "-drive", f"{disk},id=root,format=qcow2,file={self.root_disk}", "-device", "virtio-blk-pci,drive=root",
            "-drive", f"{disk},id=luks,format=raw,file={self.luks_disk}",
            "-device", "virtio-blk-pci,drive=luks,serial=luks",
            "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=",
            "-chardev", f"socket,id=tpm,path={tpm}", "-tpmdev", "emulator,id=tpm,chardev=tpm",
            "-device", "tpm-crb,tpmdev=tpm",
            "-device", "virtio-rng-pci",
            *(plugged if self.stick.exists() else ()),
        ]  # fmt: skip

    # Shell

    def run(self, command: str, *, given: bytes | str | None = None, check: bool = True) -> Ran:
        """Run it in the shell of root, which reads `given`.

        Raises GuestRefused where `check` and it ended with something else than 0; ConnectionError where the guest
        could not be asked, which is nothing that it says.
        """
        read = given.encode() if isinstance(given, str) else given or b""
        done = subprocess.run([*self._ssh(), "guest", command], capture_output=True, check=False, input=read)
        if done.returncode == _SSH_FAILED:
            raise ConnectionError(f"cannot ask the guest: {done.stderr.decode(errors='replace')}")
        ran = Ran(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
        if check and ran.code:
            raise GuestRefused(f"{command!r} ended with {ran.code}: {ran.stdout}{ran.stderr}")
        return ran

    def lmsctl(self, *arguments: object, given: bytes | str | None = None) -> dict[str, Any]:
        """The answer of a verb. Raises GuestRefused."""
        command = shlex.join(["lmsctl", "--json", *map(str, arguments)])
        answer: dict[str, Any] = json.loads(self.run(command, given=given).stdout)
        return answer

    def put(self, content: bytes | str, path: str, mode: int = 0o600) -> None:
        """Write a file, and the directories that it needs."""
        where = shlex.quote(path)
        self.run(f'mkdir -p "$(dirname {where})" && cat >{where} && chmod {mode:o} {where}', given=content)

    def get(self, path: str) -> bytes:
        """What is in a file."""
        return self.run(f"cat {shlex.quote(path)}").content

    def trust_maker(self) -> None:
        """Have the service take TPMs of their maker."""
        for certificate in (self.maker.root, self.maker.issuer):
            self.put(certificate.read_bytes(), f"/etc/lms/ek-roots/{certificate.name}", 0o644)
        self.put('ek_roots = ["/etc/lms/ek-roots"]\n', "/etc/lms/lms.toml.d/maker.toml", 0o644)
        self.run("systemctl restart lms.service")

    def state(self, unit: str) -> str:
        """`active`, `failed`, …"""
        return self.run(f"systemctl show --value --property=ActiveState {shlex.quote(unit)}").stdout.strip()

    def moments(self, unit: str, *changes: str) -> list[int]:
        """When the last changes of a unit's state were (`InactiveExit`, …), in microseconds since the kernel began."""
        show = f"systemctl show --value {shlex.quote(unit)} --property="
        return [int(self.run(f"{show}{change}TimestampMonotonic").stdout) for change in changes]

    def measured(self) -> str:
        """What systemd-analyze says of the boot, once that is over."""
        self.await_all()
        return self.run("systemd-analyze time").stdout.splitlines()[0]

    def journal(self) -> str:
        """What was written down since it was switched on."""
        return self.run("journalctl --sync && journalctl --boot --no-pager --output=short-monotonic").stdout

    def tell(self) -> None:
        """Print how it went; for pytest to show where a test failed."""
        if self.console is not None:
            print(self.console.text[-3000:])
        if self._machine is not None and self._shell.exists():
            print(self.journal()[-20000:])

    def _ssh(self, *options: str) -> list[str]:
        return [
            "ssh", "-F", "/dev/null", "-p", str(self._port), "-S", str(self._shell), "-l", "root",
            "-i", str(self.parts.keys / "login"),
            *(f"-o{option}" for option in (
                "BatchMode=yes", "HostName=127.0.0.1", "HostKeyAlias=guest", "StrictHostKeyChecking=yes",
                f"UserKnownHostsFile={self.parts.keys / 'known_hosts'}", "LogLevel=ERROR", "ConnectTimeout=60",
                "ServerAliveInterval=60",
            )),
            *options,
        ]  # fmt: skip


@dataclass(frozen=True)
class Ran:
    """How a command in the guest ended."""

    code: int
    content: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """`content` as text."""
        return self.content.decode(errors="replace")
