"""What the operator of a Migration Authority does there: requests out, answers and denials in (PROTOCOL §6, §7, §8).

For an owner whose station has no network. Nothing here uses the vault key, so that the TPM stays the server's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Final, NoReturn

from lms.errors import NotAtAuthority, NotInitialised, WrongDocument
from lms.model.authorities import KeptRequest, ListedRequest, Receipt, RequestKind
from lms.model.keys import Name
from lms.model.tpm import OuterWrap
from lms.ports import VaultTransaction
from lms.service.keeping.access import Served, Station, served_owners
from lms.service.keeping.releases import annex
from lms.service.keeping.requests import deny as deny_kept
from lms.service.keeping.requests import take_approval, take_grant, take_trust_list
from lms.service.keeping.setting import AuthoritySetting
from lms.wire.document import root_name

_NOBODY: Final = b""
_ANSWERS: Final[Mapping[str, Callable[[AuthoritySetting, VaultTransaction, bytes], Receipt]]] = {
    "EnrolmentGrant": take_grant,
    "RestoreApproval": take_approval,
    "TrustList": take_trust_list,
}


class ClosedVaultKey:
    """`lms.ports.VaultKey` of an authority whose vault stays closed."""

    def __init__(self, public: bytes) -> None:
        self.public = public

    def rewrap(self, key_id: Name, outer: OuterWrap, new_parent: bytes) -> NoReturn:
        """Raises NotInitialised."""
        raise NotInitialised("cannot pass a key on: the vault is not open here")


def queued(transaction: VaultTransaction) -> Iterator[tuple[Served | None, ListedRequest]]:
    """All requests, in each owner's queue and in nobody's."""
    for served in served_owners(transaction):
        for listed in transaction.requests(served.kept.fingerprint):
            yield served, listed
    for listed in transaction.requests(_NOBODY):
        yield None, listed


def exported(
    setting: AuthoritySetting, transaction: VaultTransaction, served: Served | None, listed: ListedRequest
) -> tuple[bytes, bytes | None]:
    """A request, and the annex to it where this is a restore of which something is here."""
    kept = _kept(transaction, listed.request_id)
    if served is not None and kept.kind is RequestKind.RESTORE:
        with suppress(NotAtAuthority):
            return kept.document, annex(setting, transaction, Station(served), kept)
    return kept.document, None


def _kept(transaction: VaultTransaction, request_id: bytes) -> KeptRequest:
    kept = transaction.request(request_id)
    if kept is None:
        raise NotAtAuthority("cannot find this request: it was forgotten")
    return kept


def deny(transaction: VaultTransaction, request_id: bytes) -> Receipt:
    """Deny a request in whosever queue, as a station of its owner would. Raises NotAtAuthority."""
    return deny_kept(transaction, _kept(transaction, request_id))


def take(setting: AuthoritySetting, transaction: VaultTransaction, document: bytes) -> Receipt:
    """What the MSA signed, as an `Upload` would take it. Raises WrongDocument and the errors of the three."""
    root = root_name(document)
    if root not in _ANSWERS:
        raise WrongDocument(f"cannot take '{root}': expected one of {', '.join(_ANSWERS)}")
    return _ANSWERS[root](setting, transaction, document)
