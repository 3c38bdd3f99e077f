"""Descriptors on the bus: what is accepted, and that none stays behind."""

from __future__ import annotations

import fcntl
import os

import pytest

from lms.errors import BadRequest, BusRefused, LmsError
from lms.link.connection import Connection, Target
from lms.link.descriptors import read_sealed, sealed
from tests.link.conftest import CLOCK, NAME, ROOT, TARGET, both, memory_file, open_descriptors
from tests.support.asynchronous import in_loop

_PEER = Target(NAME, ROOT, "org.freedesktop.DBus.Peer")


async def settled(client: Connection) -> int:
    """How many descriptors are open when everything sent before was answered."""
    await client.call(_PEER, "Ping")
    await client.call(_PEER, "Ping")
    return open_descriptors()


@in_loop
async def test_content_goes_both_ways_and_nothing_stays_open(bus):
    async with both(bus) as (_, client):
        before = open_descriptors()
        given = [sealed(content) for content in (b"one", b"two", b"")]
        body = ({"a": 0, "b": 1}, 2)
        assert await client.call(TARGET, "Read", "a{sh}h", *body, descriptors=given) == ("one two ",)
        for descriptor in given:
            os.close(descriptor)
        reply = await client.exchange(TARGET, "Make", "s", "made")
        with reply.descriptors:
            assert reply.descriptors.content(reply.body[0], 10) == b"made"
        assert await settled(client) == before


@in_loop
async def test_descriptors_that_nobody_takes_are_closed(bus):
    """Of calls that fail, calls of nothing, and signals; the control holds as many and sees them."""
    async with both(bus) as (clock, client):
        before = open_descriptors()
        given = [sealed(b"x") for _ in range(16)]
        held = before + len(given)
        for target, member, signature, body in (
            (TARGET, "Fail", "", ()),
            (TARGET, "Nowhere", "h", (3,)),
            (TARGET, "Read", "s", ("wrong types",)),
            (Target(NAME, "/nowhere", CLOCK), "Read", "", ()),
        ):
            for _ in range(10):
                with pytest.raises(LmsError):
                    await client.call(target, member, signature, *body, descriptors=given)
        for _ in range(80):
            client.signal(Target(clock.service.connection.unique_name, ROOT, CLOCK), "Struck", "", [], given)
        assert await settled(client) == held
        clock.asked.clear()
        reply = await client.exchange(TARGET, "Make", "s", "made")
        assert open_descriptors() == held + 1
        reply.descriptors.close()
        for descriptor in given:
            os.close(descriptor)
        assert await settled(client) == before


@in_loop
async def test_an_index_that_did_not_come_is_refused(bus):
    async with both(bus) as (_, client):
        (descriptor,) = given = [sealed(b"x")]
        assert await client.call(TARGET, "Read", "a{sh}h", {}, 0, descriptors=given) == ("x",)
        for index in (1, 2**32 - 1):
            with pytest.raises((BadRequest, BusRefused)):
                await client.call(TARGET, "Read", "a{sh}h", {}, index, descriptors=given)
        os.close(descriptor)


def test_a_sealed_file_is_read_whole_wherever_it_stands():
    descriptor = sealed(b"content")
    os.lseek(descriptor, 3, os.SEEK_SET)
    assert read_sealed(descriptor, 7) == b"content"
    with pytest.raises(BadRequest, match="at most 6"):
        read_sealed(descriptor, 6)
    with pytest.raises(PermissionError):
        os.write(descriptor, b"other")
    os.close(descriptor)


def test_what_could_block_or_change_is_refused(tmp_path):
    """A pipe, a file, and a memory file that is not sealed, or not against everything."""
    (tmp_path / "file").write_bytes(b"content")
    pipe, other_end = os.pipe()
    partly = memory_file(b"content")
    fcntl.fcntl(partly, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    refused = (pipe, file, partly, memory_file(b"content"))
    for descriptor in refused:
        with pytest.raises(BadRequest, match="no sealed memory file"):
            read_sealed(descriptor, 100)
        os.close(descriptor)
    os.close(other_end)
