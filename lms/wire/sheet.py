"""Recovery sheets: whose word one is, and what it has to fit (PROTOCOL §6).

A sheet carries the owner document that it is judged by, so by itself it proves nothing: whoever makes one can put
his own into it. It is judged only under an owner who was confirmed by other means: by fingerprint, or by an opened
token; never by the key that it names, for the policy of an adopted one has nothing of any owner.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from lms.errors import BadAttributes, OwnerMismatch, PolicyMismatch
from lms.model.owner import Owner, RecoverySheet
from lms.model.trust import Role, TrustList
from lms.wire.anchor import confirm_owner
from lms.wire.certificates import SignerRule, judge_signer
from lms.wire.token_v1 import read_sheet
from lms.wire.tpm.policy import duplication_policy_digest
from lms.wire.tpm.public import read_public
from lms.wire.tpm.recoverable import is_recoverable

_ISSUERS: Final = SignerRule(frozenset({Role.OWNER, Role.SIGNER}))


def confirm_sheet(document: bytes, fingerprint: str, now: datetime) -> tuple[RecoverySheet, Owner]:
    """A sheet and its owner, if the fingerprint is the one that was written down.

    Raises FingerprintUnconfirmed, FingerprintDiffers and the errors of `accept_sheet`.
    """
    owner = confirm_owner(read_sheet(document)[0].owner_document, fingerprint)
    return accept_sheet(document, owner, None, now), owner


def accept_sheet(document: bytes, owner: Owner, trust_list: TrustList | None, now: datetime) -> RecoverySheet:
    """The sheet in `document`, issued by this owner's MSA.

    Raises the errors of `read_sheet` and `judge_signer`, OwnerMismatch, BadAttributes, PolicyMismatch.
    """
    sheet, signed = read_sheet(document)
    # Compared first: a genuine sheet of somebody else is no forgery, and whose it is helps a person.
    if sheet.owner_document != owner.document:
        raise OwnerMismatch("cannot use the recovery sheet: it is another owner's")
    judge_signer(signed, _ISSUERS, owner, trust_list, now)
    drsk = read_public(sheet.drsk)
    if not is_recoverable(drsk):
        raise BadAttributes("cannot use the recovery sheet: its key is no recoverable storage key")
    policy = sheet.policy
    ours = policy.owner_alone or owner.approval_root_name in policy.approval_roots
    if duplication_policy_digest(policy) != drsk.policy or not ours:
        raise PolicyMismatch("cannot use the recovery sheet: its branches do not give its key's policy")
    return sheet
