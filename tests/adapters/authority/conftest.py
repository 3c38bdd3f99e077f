"""A client, and servers that are not what they should be."""

from __future__ import annotations

from contextlib import ExitStack
from itertools import count

import pytest

from lms.adapters.authority import AuthorityClient
from lms.model.authorities import ServiceInformation
from lms.model.trust import Mode
from tests.support.documents import make_owner
from tests.support.hostile import HostileServer, answer
from tests.support.tls import MA, tls_certificate

INFORMATION = ServiceInformation(MA.uuid, Mode.SOFTWARE, 67108864, 90)
GOOD_ANSWER = answer("GetMAServiceInformation", INFORMATION)
GOOD_CERTIFICATE = tls_certificate(make_owner(), MA)


def ticking():
    """A clock on which each look takes a second."""
    ticks = count()
    return lambda: float(next(ticks))


class Desk:
    """Makes servers and clients, and ends them all."""

    def __init__(self, stack):
        self._stack = stack
        self.pauses = []

    def server(self, script, certificate=GOOD_CERTIFICATE, **options):
        return self._stack.enter_context(HostileServer(script, certificate, **options))

    def client(self, server, trust_list=None, *, ma_id=MA.uuid, **options):
        address = server if isinstance(server, str) else server.address
        options = {"pause": self.pauses.append} | options
        client = AuthorityClient(address, ma_id, make_owner().owner, trust_list, **options)
        self._stack.callback(client.close)
        return client


@pytest.fixture
def desk():
    # Clients end before the servers that they talk to: servers enter the stack first.
    with ExitStack() as stack:
        yield Desk(stack)
