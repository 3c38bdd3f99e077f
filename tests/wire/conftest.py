"""One platform and its packages for all tests of documents."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lms.wire.acceptance import PackageTrust, accept_package
from tests.support.documents import NOW, make_package, make_platform


class Desk:
    """Where packages of one platform are signed and judged."""

    def __init__(self):
        self.platform = make_platform()
        self.world = self.platform.world
        self.package = make_package()
        self.trust = PackageTrust(self.world.owner, NOW, self.platform.id)

    def judge(self, package=None, signer=None, **trust):
        """Accept a package (the good one where none is given) under changed trust."""
        return accept_package(self.platform.signed(package or self.package, signer), replace(self.trust, **trust))

    def with_header(self, **changes):
        return replace(self.package, header=replace(self.package.header, **changes))

    def with_key(self, **changes):
        """The package with its DRSK changed."""
        (key,) = self.package.migrating_keys
        return replace(self.package, migrating_keys=(replace(key, **changes),))

    def with_child(self, **changes):
        (child,) = self.package.child_keys
        return replace(self.package, child_keys=(replace(child, **changes),))

    def with_approvals(self, *approvals, ref="D0"):
        """The package with other approvals of one blob."""
        (key,) = self.package.migrating_keys
        return self.with_key(
            blobs=tuple(replace(b, approvals=approvals) if b.destination == ref else b for b in key.blobs)
        )


@pytest.fixture(scope="session")
def desk():
    return Desk()
