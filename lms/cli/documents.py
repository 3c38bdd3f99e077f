"""The verbs that need no daemon and no TPM: `token`, `inspect`, `verify`."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from lms.errors import BadRequest
from lms.files import create_file, read_file
from lms.model.keys import digits, same_digits
from lms.model.owner import Owner
from lms.model.packages import MigrationPackage
from lms.process import run_program
from lms.terminal import generated_password, read_secret, say
from lms.wire.acceptance import PackageTrust, accept_package
from lms.wire.anchor import confirm_owner, read_owned_token, read_owner
from lms.wire.certificates import identity_of
from lms.wire.document import MIB, root_name
from lms.wire.exchange_v1 import DOCUMENTS
from lms.wire.package_v1 import read_package
from lms.wire.token_v1 import read_sheet

Answer = dict[str, Any]
_MAX_DOCUMENT: Final = 128 * MIB


def _owner_facts(owner: Owner) -> Answer:
    return {"fingerprint": digits(owner.fingerprint), "token": owner.token_id}


def token_create(arguments: argparse.Namespace) -> Answer:
    """A new Emergency Recovery Token in a new file."""
    path = Path(arguments.file)
    if path.exists():
        raise BadRequest(f"cannot create '{path}': it exists, and a token is never overwritten")
    generated = arguments.token_password is None and sys.stdin.isatty() and sys.stderr.isatty()
    if generated:
        password = generated_password().encode("ascii")
    else:
        password = read_secret(arguments.token_password, "token password", confirm=True)
    if not password:
        raise BadRequest("cannot create a token without a password")
    now = datetime.now(UTC).replace(microsecond=0).isoformat().encode("ascii")
    document = run_program("lms.opener", ["create"], {"token-password": password, "request": now})
    _, owner = read_owned_token(document)
    create_file(path, document)
    if generated:
        say("lmsctl", f"the token's password, shown this once: {password.decode('ascii')}")
    say("lmsctl", "write the fingerprint down: it is how you will know your own token")
    say("lmsctl", "keep this file on removable media, apart from the archives and from the password")
    return {"file": str(path), **_owner_facts(owner)}


def token_show(arguments: argparse.Namespace) -> Answer:
    """What a token's outside tells; needs no password."""
    token, owner = read_owned_token(read_file(Path(arguments.file), _MAX_DOCUMENT))
    cost = f"Argon2id, {token.cost.memory // 1024} MiB, {token.cost.time} passes, {token.cost.parallelism} lanes"
    return {**_owner_facts(owner), "password": cost}


def token_public(arguments: argparse.Namespace) -> Answer:
    """The owner document of a token: all that platforms need."""
    _, owner = read_owned_token(read_file(Path(arguments.file), _MAX_DOCUMENT))
    create_file(Path(arguments.output), owner.document, mode=0o644)
    return {"file": arguments.output, **_owner_facts(owner)}


def _package_facts(package: MigrationPackage) -> Answer:
    header = package.header
    return {
        "document": "MigrationPackage",
        "package": str(header.package_id),
        "flow": header.flow.value,
        "created": header.created.isoformat(),
        "sequence": header.sequence,
        "platform": str(header.source.platform_id),
        "host": header.source.host_name,
        "destinations": [{"kind": d.kind.value, "id": d.identity} for d in header.destinations],
        "keys": [{"label": k.label, "type": k.type.value, "key": k.key_id.digits} for k in package.migrating_keys],
        "child-keys": [{"label": c.label, "application": c.application, "owner": c.owner} for c in package.child_keys],
    }


def inspect(arguments: argparse.Namespace) -> Answer:
    """What a document says of itself; nothing of it is believed."""
    document = read_file(Path(arguments.file), _MAX_DOCUMENT)
    root = root_name(document)
    if root == "MigrationPackage":
        untrusted = read_package(document)
        facts = _package_facts(untrusted.content)
        signer = untrusted.signed.certificates[0]
    elif root == "EmergencyRecoveryToken":
        return {"document": root, **_owner_facts(read_owned_token(document)[1])}
    elif root == "OwnerDocument":
        return {"document": root, **_owner_facts(read_owner(document))}
    elif root == "RecoverySheet":
        sheet, signed = read_sheet(document)
        facts = {"document": root, "platform": str(sheet.platform_id), "sequence": sheet.sequence}
        signer = signed.certificates[0]
    elif root in DOCUMENTS:
        _, signed = DOCUMENTS[root].read(document)
        facts, signer = {"document": root}, signed.certificates[0]
    else:
        raise BadRequest(f"cannot inspect a '{root}': it is none of our documents")
    return {**facts, "signer": _signer(signer), "verified": False}


def _signer(certificate: bytes) -> str:
    parsed = x509.load_der_x509_certificate(certificate)
    if parsed.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
        return "the owner's CA"
    return identity_of(parsed).urn


def verify(arguments: argparse.Namespace) -> Answer:
    """Every check of a package that needs no TPM, against an owner whose fingerprint is given."""
    owner = confirm_owner(read_file(Path(arguments.owner), _MAX_DOCUMENT), arguments.fingerprint)
    document = read_file(Path(arguments.file), _MAX_DOCUMENT)
    untrusted = read_package(document).content
    trust = PackageTrust(
        owner=owner,
        now=datetime.now(UTC),
        platform_id=untrusted.header.source.platform_id,
        known_drsks=frozenset(
            k.key_id
            for k in untrusted.migrating_keys
            if arguments.confirm_key is not None and same_digits(arguments.confirm_key, k.key_id.digest)
        ),
    )
    verified = accept_package(document, trust)
    return {**_package_facts(verified.content), "approved": verified.approved, "verified": True}
