"""The MSA's approvals of a destination, judged without a TPM (PROTOCOL §2)."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lms.errors import ApprovalInvalid, LmsError
from lms.model.keys import Name
from lms.model.packages import MsaApproval
from lms.model.policies import POLICY_REF
from lms.wire.tpm.policy import approval_digest, authorize
from lms.wire.tpm.public import ec_public_key, name_of, read_public
from lms.wire.tpm.signature import verify_digest


def check_approved(approvals: Sequence[MsaApproval], policy: bytes, roots: Collection[Name], destination: str) -> None:
    """Raise ApprovalInvalid unless a chain that begins with `policy` ends with one of these approval roots.

    `destination` is how it is called in messages.
    """
    if not approvals:
        raise ApprovalInvalid(f"cannot accept the blob for '{destination}': nobody approved it")
    root: Name | None = None
    expected = policy
    for approval in approvals:
        if approval.approved_policy != expected or approval.policy_ref != POLICY_REF:
            raise ApprovalInvalid(f"cannot accept an approval for '{destination}': it approves another act")
        try:
            verify_digest(
                ec_public_key(read_public(approval.public)),
                approval_digest(approval.approved_policy, approval.policy_ref),
                approval.signature,
            )
        except LmsError as error:
            raise ApprovalInvalid(f"cannot accept an approval for '{destination}': {error}") from None
        root = name_of(approval.public)
        expected = authorize(root)
    if root not in roots:
        raise ApprovalInvalid(f"cannot accept an approval for '{destination}': by a stranger's approval root")
