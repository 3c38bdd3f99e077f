"""What services of ours write down: entries of the journal with fields to find them by, and no secret in them."""

from __future__ import annotations

import signal
import socket
import struct
import subprocess
import sys
from uuid import UUID

import pytest

from tests.support.asynchronous import in_loop
from tests.support.authority import Program
from tests.support.daemon import Daemon, client
from tests.support.keeping import make_authority
from tests.support.platform import OWNER_AUTH
from tests.support.tls_client import PATIENCE_S, exchange, post, secured

_ONCE = """
import logging, os, sys
from lms.journal import begin_log, fields
from tests.support.journalled import put_journal_in_place

if len(sys.argv) > 1:
    put_journal_in_place(sys.argv[1])
    found = os.fstat(2)
    os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
begin_log("lmsd")
logging.getLogger("part").warning("two\\nPRIORITY=0", extra=fields(job=3, error=None))
"""


def read_entry(datagram: bytes) -> dict[str, str]:
    """The fields of an entry in the Native Journal Protocol: a line, or a name, and the size before the value."""
    values = {}
    while datagram:
        line, _, rest = datagram.partition(b"\n")
        name, is_line, value = line.partition(b"=")
        if not is_line:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        values[name.decode()] = value.decode()
        datagram = rest
    return values


class Journal:
    """A socket as journald has one."""

    def __init__(self, path) -> None:
        self.directory = str(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path / "socket"))
        self._socket.settimeout(PATIENCE_S)

    def until(self, **wanted: str) -> list[dict[str, str]]:
        """The entries up to the first one with these values."""
        found = [read_entry(self._socket.recv(65536))]
        while not wanted.items() <= found[-1].items():
            found.append(read_entry(self._socket.recv(65536)))
        return found

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def written(tmp_path):
    (tmp_path / "journal").mkdir()
    made = Journal(tmp_path / "journal")
    yield made
    made.close()


def logged(*journal: str) -> str:
    """What a program writes to stderr that logs once; with a journal, stderr is believed to lead there."""
    command = [sys.executable, "-c", _ONCE, *journal]
    return subprocess.run(command, capture_output=True, text=True, check=True).stderr


def test_a_record_is_an_entry_with_its_fields(written):
    assert logged(written.directory) == ""
    (entry,) = written.until(LMS_JOB="3")
    assert entry.pop("CODE_FILE") == "<string>"
    assert entry.pop("CODE_LINE").isdigit()
    assert entry == {
        "MESSAGE": "part: two\nPRIORITY=0",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "lmsd",
        "LOGGER": "part",
        "CODE_FUNC": "<module>",
        "LMS_JOB": "3",
    }


def test_where_there_is_no_journal_it_is_a_line():
    assert logged() == "part: two\nPRIORITY=0\n"


@in_loop
async def test_the_way_of_a_job_is_found_by_its_fields(bus, archived, written, token):
    daemon = Daemon(archived.write_config(bus=f'"{bus.address}"'), "tests.support.journalled")
    archived.let_go()
    try:
        daemon.start(JOURNAL=written.directory, PROGRAM="lms.daemon").until("READY=1")
        async with client(bus.address) as us:
            secrets = {"owner-auth": OWNER_AUTH.reveal(), "password": b"what a user entrusts"}
            await us.act("Register", {"application": "luks", "label": "a name"}, secrets)
            await us.act("Enroll", {"destination": "ma"}, {"owner-auth": OWNER_AUTH.reveal()})
            entries = written.until(LMS_JOB="2", LMS_STATE="finished")
    finally:
        daemon.remove()
    ways = [e for e in entries if "LMS_JOB" in e]
    states = [(e["LMS_JOB"], e["LMS_STATE"]) for e in ways]
    assert states == [(n, s) for n in "12" for s in ("queued", "running", "finished")]
    done, failed = ways[2], ways[-1]
    assert (done["LMS_VERB"], done["LMS_RESULT"], done["LMS_UID"], done["PRIORITY"]) == ("register", "done", "0", "6")
    assert (failed["LMS_VERB"], failed["LMS_RESULT"], failed["PRIORITY"]) == ("enroll", "failed", "4")
    assert failed["LMS_ERROR"] in failed["MESSAGE"]
    everything = str(entries)
    for secret in (OWNER_AUTH.reveal().decode(), "what a user entrusts", "a name"):
        assert secret not in everything


def test_a_call_at_an_authority_is_found_by_its_fields(written, tmp_path):
    (tmp_path / "state").mkdir()
    make_authority(tmp_path / "state").store.close()
    config = tmp_path / "lms.toml"
    config.write_text(f'[authority]\nstate_directory = "{tmp_path}/state"\nlisten = "127.0.0.1:0"\n')
    program = Program(
        tmp_path, config, "tests.support.journalled", JOURNAL=written.directory, PROGRAM="lms.authority.main"
    )
    with secured(program.port()) as connection:
        status, _, _ = exchange(connection, post())
    (call,) = written.until(LMS_OPERATION="GetMAServiceInformation")[-1:]
    assert program.ended(signal.SIGTERM)[0] == 0
    assert (status, call["LMS_OUTCOME"], call["LMS_ADDRESS"]) == (200, "done", "127.0.0.1")
    assert UUID(call["LMS_CORRELATION"])
