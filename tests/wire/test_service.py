"""The messages of the service, frozen: each is the canonical bytes of its value, and schema-valid (PROTOCOL §7)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from lxml import etree

from lms.errors import SchemaViolation
from lms.wire.service_v1 import (
    NAMESPACE,
    OPERATIONS,
    MigrationFault,
    check_message,
    operation_of,
    read_fault,
    write_fault,
)
from tests.support.documents import uuid
from tests.support.endpoint import CONVERSATIONS, FAULT

FOLDER = Path(__file__).parents[1] / "vectors" / "service"


def labelled():
    """Label → operation, request, answer; the second conversation of an operation is its `-2`."""
    seen = Counter()
    for operation, request, _, answer in CONVERSATIONS:
        seen[operation] += 1
        yield f"{operation}-{seen[operation]}", OPERATIONS[operation], request, answer


MESSAGES = {label: (operation, request, answer) for label, operation, request, answer in labelled()}


@pytest.mark.parametrize("label", MESSAGES)
def test_request_is_frozen(label):
    operation, request, _ = MESSAGES[label]
    frozen = (FOLDER / f"{label}-request.xml").read_bytes()
    assert operation.write_request(request) == frozen
    node = etree.fromstring(frozen)
    check_message(node)
    assert operation_of(node) is operation
    assert operation.read_request(node) == request


@pytest.mark.parametrize("label", MESSAGES)
def test_answer_is_frozen(label):
    operation, _, answer = MESSAGES[label]
    frozen = (FOLDER / f"{label}-answer.xml").read_bytes()
    assert operation.write_answer(answer) == frozen
    node = etree.fromstring(frozen)
    check_message(node)
    assert operation.read_answer(node) == answer
    with pytest.raises(SchemaViolation):
        operation_of(node)


def test_fault_is_frozen():
    frozen = (FOLDER / "fault.xml").read_bytes()
    assert write_fault(FAULT) == frozen
    node = etree.fromstring(frozen)
    check_message(node)
    assert read_fault(node) == FAULT
    bare = MigrationFault("Internal", "", uuid("correlation"))
    node = etree.fromstring(write_fault(bare))
    check_message(node)
    assert read_fault(node) == bare


def test_every_operation_is_frozen():
    assert {operation.name for operation, *_ in MESSAGES.values()} == OPERATIONS.keys()
    assert len(list(FOLDER.glob("*.xml"))) == 2 * len(MESSAGES) + 1


@pytest.mark.parametrize("name", ["GetMAKeyResponse", "MigrationFault", "Purge", "getmakey", "Hello"])
def test_what_is_no_operation_cannot_be_called(name):
    with pytest.raises(SchemaViolation):
        operation_of(etree.fromstring(f'<{name} xmlns="{NAMESPACE}"/>'))


@pytest.mark.parametrize("namespace", ["urn:localmigration:service:2", "urn:localmigration:authority:1"])
def test_operation_of_another_namespace_cannot_be_called(namespace):
    assert operation_of(etree.fromstring(f'<GetMAKey xmlns="{NAMESPACE}"/>')).name == "GetMAKey"
    with pytest.raises(SchemaViolation):
        operation_of(etree.fromstring(f'<GetMAKey xmlns="{namespace}"/>'))


def test_qualified_attribute_is_refused():
    xsi = 'xmlns:x="http://www.w3.org/2001/XMLSchema-instance"'
    with pytest.raises(SchemaViolation):
        check_message(etree.fromstring(f'<Query xmlns="{NAMESPACE}" {xsi} x:type="Query"/>'))
    check_message(etree.fromstring(f'<Query xmlns="{NAMESPACE}"/>'))
