"""The short-lived process that opens an Emergency Recovery Token: started, never imported (DESIGN §5).

    python3 -I -m lms.opener approve  --token=FD --token-password=FD --request=FD --answer=FD
    python3 -I -m lms.opener certify  --token=FD --token-password=FD --request=FD --answer=FD
    python3 -I -m lms.opener create   --token-password=FD --request=FD --answer=FD
    python3 -I -m lms.opener grant    --token=FD --token-password=FD --request=FD --answer=FD
    python3 -I -m lms.opener release  --token=FD --token-password=FD --request=FD --answer=FD
    python3 -I -m lms.opener vouch    --token=FD --token-password=FD --request=FD --answer=FD
    python3 -I -m lms.opener withdraw --token=FD --token-password=FD --request=FD --answer=FD

`vouch` answers with the owner document of a token that its password opens, and takes no request.
Everything comes and goes by descriptor. The seed and the owner's keys exist in this process alone, which
neither dumps core nor can be traced.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from lms.errors import LmsError
from lms.model.owner import EmergencyRecoveryToken, Owner, OwnerDocument
from lms.model.release import EnrolmentOrder, ReleaseRequest, RestorationOrder, WithdrawalOrder
from lms.model.secret import Secret
from lms.model.station import StationOrder
from lms.process import harden, read_descriptor, report
from lms.service.approving import approve_restore
from lms.service.certifying import certify_station
from lms.service.granting import grant
from lms.service.releasing import release_and_grant
from lms.service.withdrawing import withdraw
from lms.wire.anchor import fingerprint, read_owned_token
from lms.wire.certificates import OwnerSigner, make_ca
from lms.wire.record import read_record, write_record
from lms.wire.seed import COST, NONCE_SIZE, SALT_SIZE, SEED_SIZE, OwnerKeys, open_seed, owner_keys, seal_seed
from lms.wire.signature import sign
from lms.wire.token_v1 import write_owner_document, write_token
from lms.wire.tpm.public import approval_public, name_of, recovery_public
from lms.wire.tpm.signature import sign_digest

# What an open token does: act → the record that it takes, and who does it.
_ACTS: Final[Mapping[str, tuple[type, Callable[[Any, Owner, OwnerKeys], Any]]]] = {
    "approve": (RestorationOrder, approve_restore),
    "certify": (StationOrder, certify_station),
    "grant": (EnrolmentOrder, grant),
    "release": (ReleaseRequest, release_and_grant),
    "withdraw": (WithdrawalOrder, withdraw),
}


def _owner_document(keys: OwnerKeys, now: datetime) -> tuple[bytes, OwnerSigner]:
    ca = make_ca(keys.ca, now)
    root, recovery = approval_public(keys.approval.public_key()), recovery_public(keys.recovery.public_key())
    digest = fingerprint(keys.ca.public_key(), name_of(root), name_of(recovery))
    signer = OwnerSigner(keys.ca, ca)
    value = OwnerDocument(ca, root, recovery, sign_digest(keys.approval, digest))
    return sign(write_owner_document(value), signer), signer


def create(now: datetime, password: Secret) -> bytes:
    """A new token: a fresh seed, its owner document, sealed by the password."""
    seed = Secret(os.urandom(SEED_SIZE))
    document, signer = _owner_document(owner_keys(seed), now)
    token = EmergencyRecoveryToken(document, COST, os.urandom(SALT_SIZE), os.urandom(NONCE_SIZE), b"")
    sealed = seal_seed(token, seed, password)
    return sign(write_token(EmergencyRecoveryToken(document, COST, token.salt, token.nonce, sealed)), signer)


def open_token(document: bytes, password: Secret) -> tuple[Owner, OwnerKeys]:
    """The owner and the owner's keys."""
    token, owner = read_owned_token(document)
    return owner, owner_keys(open_seed(token, password))


def _done(word: str, request: bytes, owner: Owner, keys: OwnerKeys) -> bytes:
    kind, act = _ACTS[word]
    return write_record(act(read_record(kind, request), owner, keys))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="lms.opener", description=__doc__)
    parser.add_argument("act", choices=("create", "vouch", *_ACTS))
    for word in ("token", "token-password", "request", "answer"):
        parser.add_argument(f"--{word}", type=int, metavar="FD", required=word != "token")
    return parser.parse_args()


def main() -> int:
    """Do one act."""
    harden()
    arguments = _arguments()
    try:
        password = Secret(read_descriptor(arguments.token_password))
        request = read_descriptor(arguments.request)
        if arguments.act == "create":
            answer = create(datetime.fromisoformat(request.decode("ascii")), password)
        else:
            owner, keys = open_token(read_descriptor(arguments.token), password)
            answer = owner.document if arguments.act == "vouch" else _done(arguments.act, request, owner, keys)
        with os.fdopen(arguments.answer, "wb") as file:
            file.write(answer)
    except LmsError as error:
        report(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
