"""Frozen documents: each is accepted, or refused by the one error that it names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import lms.errors
from lms.wire.exchange_v1 import DOCUMENTS
from tests.support.vectors import FOLDER, judge_vector, read_vector

VECTORS = sorted(FOLDER.glob("*.xml"))
MAKE = FOLDER.parents[1] / "tools" / "make-vectors"


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


def test_every_document_is_refused_somewhere():
    """As what it is: by what somebody else signed, or by a proof that does not fit."""
    refused = {h["document"] for h in (read_vector(path)[0] for path in VECTORS) if h["expect"] != "accepted"}
    assert refused >= {"platform-enrolment", "authority-enrolment", "restore-request"}
    assert refused >= {"EnrolmentGrant", "RestoreApproval", "TrustList", "sheet", "token", "release", "package"}


def heads(folder) -> dict[str, dict[str, str]]:
    """The header of each vector, but for signed documents in it: no signature is made twice."""
    signed = ("owner", "trust-list")
    found = {path.name: read_vector(path)[0] for path in folder.glob("*.xml")}
    return {name: {k: v for k, v in head.items() if k not in signed} for name, head in found.items()}


@pytest.mark.slow
def test_the_vectors_are_those_that_the_tool_makes(tmp_path):
    """It judges each before it writes it: what is frozen is what it would freeze today."""
    done = subprocess.run([sys.executable, MAKE, "--into", tmp_path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert heads(tmp_path) == heads(FOLDER)
