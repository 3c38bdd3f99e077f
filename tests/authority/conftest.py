"""One real Migration Authority for all tests of its service, and one server before it."""

from __future__ import annotations

import pytest

from lms.authority.connections import Limits
from lms.authority.server import AuthorityServer
from lms.authority.tls import server_context
from tests.support.asking import chip_in_both_modes, vault_chip
from tests.support.keeping import make_authority

__all__ = ["authority", "chip_in_both_modes", "serving", "vault_chip"]


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def serving(authority):
    """Starts servers before the authority, with limits of their own; all are stopped at the end."""
    running = []

    def start(application=authority.keeper.at, contexts=None, listen=("127.0.0.1", 0), **limits):
        ours = server_context(authority.leaf, authority.tls_key, [authority.world.owner.ca_certificate])
        server = AuthorityServer(listen, contexts or (lambda: ours), application, Limits(**limits))
        server.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()
