"""A Migration Authority on this machine: `init` makes its identity, `enroll` takes an owner's grant (PROTOCOL §8).

Both do what is missing and no more. Where its keys are is said here, and stands in every grant.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from lms.adapters.store import AuthorityDirectory
from lms.assembly import utc_now
from lms.authority.desk import configuration_of
from lms.authority.keys import Administrator, endorsement_auth_of, ensure_keys, make_keys, opened_keys
from lms.config import AuthorityConfiguration, Configuration
from lms.errors import BadRequest, NotInitialised
from lms.files import create_file, is_there, locked, read_file
from lms.model.authorities import AuthorityIdentity
from lms.model.keys import digits
from lms.model.trust import Mode
from lms.service.keeping.enrolment import (
    accept_authority_grant,
    authority_request_id,
    moved,
    request_authority_enrolment,
)
from lms.terminal import say
from lms.wire.anchor import confirm_owner
from lms.wire.document import MIB
from lms.wire.enrolment import read_authority_enrolment
from lms.wire.tpm.public import name_of
from lms.wire.trust_list import read_trust_list

Answer = dict[str, Any]
_MAX_GRANT: Final = 16 * MIB
_WHERE: Final = {
    Mode.SOFTWARE: "its keys lie in '{}': who copies them has them",
    Mode.TPM: "its TLS key lies in '{}', its vault in this TPM alone: both are needed, and the TPM cannot be copied",
}


def authority_configuration(arguments: argparse.Namespace) -> AuthorityConfiguration:
    """The table `authority` of the configuration. Raises BadConfiguration, FileProblem."""
    return configuration_of(arguments).authority


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadRequest(f"cannot read '{text}' as a UUID") from None


def _ensure_identity(
    store: AuthorityDirectory,
    configuration: Configuration,
    administrator: Administrator,
    arguments: argparse.Namespace,
) -> tuple[AuthorityIdentity, bool]:
    wanted = None if arguments.ma_id is None else _uuid(arguments.ma_id)
    addresses = tuple(arguments.address)
    identity = store.load()
    if identity is None:
        made = make_keys(configuration, administrator, wanted or uuid4(), addresses)
    elif wanted not in (None, identity.ma_id):
        raise BadRequest(f"cannot make authority {wanted} here: this is {identity.ma_id}")
    elif addresses not in ((), identity.addresses):
        made = moved(identity, addresses)
    else:
        return identity, False
    # Written before anybody is asked to approve these keys: a grant for lost keys would name a dead authority.
    store.save(made)
    return made, True


def _ensure_request(store: AuthorityDirectory, identity: AuthorityIdentity) -> bytes:
    """The request of this very identity: one from before it moved answers to other digits."""
    kept = store.load_request()
    if kept is not None and read_authority_enrolment(kept).request_id == authority_request_id(identity):
        return kept
    made = request_authority_enrolment(identity, utc_now())
    store.save_request(made)
    return made


def init(arguments: argparse.Namespace) -> Answer:
    """Make this machine's authority, or find it made, and write the request that owners approve."""
    configuration, output = configuration_of(arguments), Path(arguments.output)
    administrator = Administrator.of(arguments)
    directory = configuration.authority.state_directory
    with locked(directory):
        store = AuthorityDirectory(directory)
        identity, changed = _ensure_identity(store, configuration, administrator, arguments)
        placed = ensure_keys(configuration, administrator, identity)
        request = _ensure_request(store, identity)
    if not (is_there(output) and read_file(output, MIB) == request):
        create_file(output, request, mode=0o644)
    if changed:
        say("lms-authority", _WHERE[identity.mode].format(directory))
    return {
        "authority": str(identity.ma_id),
        "mode": identity.mode.value,
        "addresses": list(identity.addresses),
        "vault": name_of(identity.vault).digits,
        "request": digits(authority_request_id(identity)),
        "file": str(output),
        "changed": changed or placed,
    }


def enroll(arguments: argparse.Namespace) -> Answer:
    """Serve the owner who granted this authority's request."""
    from lms.adapters.vault import open_vault  # the library of databases is large, and a station has none

    owner = confirm_owner(read_file(Path(arguments.owner), MIB), arguments.fingerprint)
    grant, configuration = read_file(Path(arguments.grant), _MAX_GRANT), authority_configuration(arguments)
    with locked(configuration.state_directory):
        identity = AuthorityDirectory(configuration.state_directory).load()
        if identity is None:
            raise NotInitialised(f"cannot take a grant: there is no authority in '{configuration.state_directory}'")
        vault = open_vault(configuration.store_url)
        try:
            keys = opened_keys(configuration, identity, endorsement_auth_of(arguments))
            with keys as opened, vault.transaction() as transaction:
                kept, changed = accept_authority_grant(identity, opened.opens, transaction, grant, owner, utc_now())
        finally:
            vault.close()
    return {
        "authority": str(identity.ma_id),
        "owner": digits(owner.fingerprint),
        "mode": identity.mode.value,
        "combined": kept.combined,
        "trust-list": read_trust_list(kept.trust_list, owner).number,
        "changed": changed,
    }
