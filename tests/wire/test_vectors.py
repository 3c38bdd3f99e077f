"""Frozen documents: each is accepted, or refused by the one error that it names."""

from __future__ import annotations

import pytest

import lms.errors
from lms.wire.exchange_v1 import DOCUMENTS
from tests.support.vectors import FOLDER, judge_vector, read_vector

VECTORS = sorted(FOLDER.glob("*.xml"))


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_vector(path):
    header, document = read_vector(path)
    if header["expect"] == "accepted":
        judge_vector(header, document)
        return
    expected = getattr(lms.errors, header["expect"])
    with pytest.raises(expected) as caught:
        judge_vector(header, document)
    assert type(caught.value) is expected


def test_vectors_are_small_and_cover_every_document():
    headers = [read_vector(path)[0] for path in VECTORS]
    assert {h["document"] for h in headers if h["expect"] == "accepted"} >= {
        "package",
        "package-inner-keys",
        "release",
        "owner-document",
        "token",
        "sheet",
        *DOCUMENTS,
    }
    assert all(path.stat().st_size < 64 * 1024 for path in VECTORS)
    assert len(VECTORS) > 50
