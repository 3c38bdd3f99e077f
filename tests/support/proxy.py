"""Lines to a software TPM: one counts commands and cuts a process down at one of them, one hides a command."""

from __future__ import annotations

import shutil
import socket
import struct
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_HEADER_SIZE = 10
_LIST_COMMANDS = bytes.fromhex("0000017a00000002")  # TPM2_GetCapability of TPM_CAP_COMMANDS
_LIST_SIZE = 19  # of its response up to the list: header, moreData, capability, count
_COMMAND_CODE = bytes.fromhex("80010000000a00000143")  # TPM_RC_COMMAND_CODE


def _message(connection: socket.socket) -> bytes:
    """One command or response; empty where the other side went away."""
    message = b""
    while len(message) < _HEADER_SIZE or len(message) < int.from_bytes(message[2:6], "big"):
        part = connection.recv(4096)
        if not part:
            return b""
        message += part
    return message


class CuttingProxy:
    """Listens at `tcti`, forwards to `server`, one connection for each command as our TCTI does.

    At command number `cut_at` (from 1) `cut` is called: before the TPM gets the command, or after it did it.
    """

    def __init__(self, server: Path, cut: Callable[[], None], cut_at: int = 0, *, after: bool = False) -> None:
        self.commands = 0
        self._server, self._cut, self._cut_at, self._after = server, cut, cut_at, after
        self._directory = Path(tempfile.mkdtemp(prefix="proxy-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._directory / "tpm"))
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)

    @property
    def tcti(self) -> str:
        """What `lms.toml` names."""
        return f"swtpm:path={self._directory / 'tpm'}"

    def arm(self, number: int) -> None:
        """Cut at the n-th command from now on; at none for 0."""
        self._cut_at = self.commands + number if number else 0

    def __enter__(self) -> CuttingProxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._thread.join()
        self._listener.close()
        shutil.rmtree(self._directory)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client, suppress(BrokenPipeError, ConnectionResetError):
                command = _message(client)
                if command:
                    self._pass_on(client, command)

    def _pass_on(self, client: socket.socket, command: bytes) -> None:
        self.commands += 1
        if self.commands == self._cut_at and not self._after:
            self._cut()
            return
        response = self._ask(command)
        if self.commands == self._cut_at:
            self._cut()
            return
        client.sendall(response)

    def _ask(self, command: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as tpm:
            tpm.connect(str(self._server))
            tpm.sendall(command)
            return _message(tpm)


class WithoutCommand(CuttingProxy):
    """The same TPM as if it lacked the command with this TPM_CC: it is neither listed nor done."""

    def __init__(self, server: Path, code: int) -> None:
        super().__init__(server, lambda: None)
        self._code = code

    def _ask(self, command: bytes) -> bytes:
        if int.from_bytes(command[6:10], "big") == self._code:
            return _COMMAND_CODE
        response = super()._ask(command)
        if command[6:14] != _LIST_COMMANDS:
            return response
        *head, count = struct.unpack(">HII B I I", response[:_LIST_SIZE].ljust(_LIST_SIZE, b"\0"))
        listed = struct.unpack_from(f">{count}I", response, _LIST_SIZE)
        left = [attributes for attributes in listed if attributes & 0xFFFF != self._code]
        head[1] = _LIST_SIZE + 4 * len(left)
        return struct.pack(f">HII B I I {len(left)}I", *head, len(left), *left)
