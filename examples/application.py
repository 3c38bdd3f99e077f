#!/usr/bin/env python3
"""A local application that keeps a secret with the Local Migration Service, over D-Bus alone.

    ./application.py keep    < secret      register it: from now on it is in every Migration Package
    ./application.py restore > secret      get it back, on this TPM or on the next one
    ./application.py watch                 say when the keys of this machine are lost, and when they are back

The bus is the system's; LMS_BUS=ADDRESS names another one. OWNER_AUTH_FILE names a file with the TPM's owner
authorisation, which is asked for otherwise.
"""

from __future__ import annotations

import asyncio
import fcntl
import getpass
import os
import sys
from pathlib import Path

from dbus_next import BusType, Message, MessageType, Variant
from dbus_next.aio import MessageBus
from dbus_next.errors import AuthError

SERVICE = "org.localmigration1"
ROOT = "/org/localmigration1"
APPLICATION, LABEL = "example", "the application's secret"


class Refused(Exception):
    """The service said no; the text says why and what to do."""


def sealed(content: bytes) -> int:
    """A memory file that can no longer change: the one form in which the service takes what is secret."""
    descriptor = os.memfd_create("secret", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(descriptor, content)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


class Service:
    """The Manager and the jobs that it makes."""

    def __init__(self, bus: MessageBus) -> None:
        self.bus = bus

    async def call(self, path, interface, member, signature="", body=(), descriptors=()) -> Message:
        """One method call; its reply."""
        reply = await self.bus.call(
            Message(
                destination=SERVICE,
                path=path,
                interface=interface,
                member=member,
                signature=signature,
                body=list(body),
                unix_fds=list(descriptors),
            )
        )
        if reply.message_type is MessageType.ERROR:
            raise Refused(reply.body[0] if reply.body else reply.error_name)
        return reply

    async def begin(self, verb: str, options: dict[str, str], secrets: dict[str, bytes]) -> str:
        """Begin a job; its object. Secrets go beside the message, never in it."""
        descriptors = [sealed(content) for content in secrets.values()]
        try:
            reply = await self.call(
                ROOT,
                f"{SERVICE}.Manager",
                verb,
                "a{sv}a{sh}t",
                (
                    {name: Variant("s", value) for name, value in options.items()},
                    {word: index for index, word in enumerate(secrets)},
                    0,
                ),
                descriptors,
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return reply.body[1]

    async def finished(self, job: str) -> None:
        """Wait for a job's end. Raises Refused with its message."""
        changed = asyncio.Event()

        def notice(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and message.path == job:
                changed.set()

        self.bus.add_message_handler(notice)
        await self.match(f"path='{job}'")
        while True:
            changed.clear()
            reply = await self.call(job, "org.freedesktop.DBus.Properties", "GetAll", "s", [f"{SERVICE}.Job"])
            state = {name: variant.value for name, variant in reply.body[0].items()}
            if state["State"] == "finished" and state["Result"] == "done":
                return
            if state["State"] in ("finished", "waiting"):
                raise Refused(f"{state['Message']}; {state['Hint']}")
            await changed.wait()

    async def collect(self, job: str, word: str) -> bytes:
        """What a job hands out, once, to who began it."""
        reply = await self.call(job, f"{SERVICE}.Job", "Collect", "s", [word])
        with os.fdopen(reply.unix_fds[reply.body[0]], "rb") as file:
            file.seek(0)
            return file.read()

    async def match(self, rule: str) -> None:
        """Ask the bus for the service's signals."""
        await self.bus.call(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[f"type='signal',sender='{SERVICE}',{rule}"],
            )
        )


async def keep(service: Service) -> None:
    """Register what comes on standard input."""
    options = {"application": APPLICATION, "label": LABEL}
    await service.finished(await service.begin("Register", options, {"data": sys.stdin.buffer.read()}))
    print("kept: it is in the next package, `lmsctl archive` makes one now", file=sys.stderr)


def owner_authorisation() -> bytes:
    """The TPM's owner authorisation; one final newline is not part of it."""
    if path := os.environ.get("OWNER_AUTH_FILE"):
        try:
            return Path(path).read_bytes().removesuffix(b"\n")
        except OSError as error:
            raise Refused(f"cannot read OWNER_AUTH_FILE '{path}': {error.strerror}") from None
    if not sys.stdin.isatty():
        raise Refused("cannot ask for the TPM's owner authorisation: this is no terminal; set OWNER_AUTH_FILE")
    return getpass.getpass("the TPM's owner authorisation: ").encode()


async def restore(service: Service) -> None:
    """Write the secret to standard output."""
    options = {"application": APPLICATION, "label": LABEL}
    job = await service.begin("Retrieve", options, {"owner-auth": owner_authorisation()})
    await service.finished(job)
    sys.stdout.buffer.write(await service.collect(job, "data"))


async def watch(service: Service) -> None:
    """Say what the service announces, for ever."""
    announced: asyncio.Queue[str] = asyncio.Queue()

    def notice(message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.member in ("RestoreNeeded", "Restored"):
            announced.put_nowait(message.member)

    service.bus.add_message_handler(notice)
    await service.match(f"interface='{SERVICE}.Manager'")
    words = {
        "RestoreNeeded": "the keys of this machine are gone: `lmsctl restore` brings them back",
        "Restored": "the keys of this machine are back",
    }
    print("watching", flush=True)
    while True:
        print(words[await announced.get()], flush=True)


async def main() -> int:
    """Run one command."""
    commands = {"keep": keep, "restore": restore, "watch": watch}
    if len(sys.argv) != 2 or sys.argv[1] not in commands:
        print(__doc__, file=sys.stderr)
        return 2
    address = os.environ.get("LMS_BUS")
    try:
        bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM, negotiate_unix_fd=True)
        await bus.connect()
    except (OSError, ValueError, AuthError) as error:
        print(f"application.py: cannot reach the bus: {getattr(error, 'strerror', None) or error}", file=sys.stderr)
        return 1
    try:
        await commands[sys.argv[1]](Service(bus))
    except Refused as error:
        print(f"application.py: {error}", file=sys.stderr)
        return 1
    finally:
        bus.disconnect()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except KeyboardInterrupt:
        sys.exit(130)
