"""Stores packages for ever, prints the ID of each that was committed: to be killed at any moment."""

from __future__ import annotations

import itertools
import sys
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID, uuid4

from lms.adapters.vault import open_vault
from lms.model.authorities import KeptPackage

PLATFORM = UUID(int=1)


def document_of(package_id: UUID) -> bytes:
    """Some pages of bytes that follow from the ID."""
    return sha256(package_id.bytes).digest() * 1024


def main(url: str) -> None:
    """Store, commit, say so."""
    vault = open_vault(url)
    for _ in itertools.count():
        package_id = uuid4()
        document = document_of(package_id)
        with vault.transaction() as transaction:
            newest = transaction.packages(PLATFORM)[:1]
            sequence = newest[0].sequence + 1 if newest else 1
            digest = sha256(document).digest()
            stored = datetime.now(UTC)
            transaction.keep_package(
                KeptPackage(package_id, b"o" * 32, PLATFORM, sequence, stored, digest, len(document)), document
            )
        print(package_id, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
