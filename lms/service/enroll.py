"""`enroll`: make a destination hold the DRSK's blob; `provision`ed begins with the first (PROTOCOL §3, §8)."""

from __future__ import annotations

from dataclasses import replace

from lms.errors import DestinationNotAllowed
from lms.model.packages import DestinationKind, InnerKey
from lms.model.platform import EnrolledDestination, PlatformState
from lms.model.policies import Branch, BranchKind
from lms.model.secret import Secret
from lms.service.setting import NO_SECRET, Setting, provisioned
from lms.wire.anchor import read_owner
from lms.wire.tpm.credential import make_credential
from lms.wire.tpm.inner_key import inner_plaintext
from lms.wire.tpm.policy import OWNER_AUTHORISED
from lms.wire.tpm.public import Attributes, name_of, sealed_template
from lms.wire.tpm.wrap import AES_128_CFB_SYMMETRIC

# An inner key is kept on this chip only, for its owner only, so that a copy can be proven without the MSA.
_KEPT = sealed_template(Attributes.FIXED_TPM | Attributes.FIXED_PARENT | Attributes.NO_DA, OWNER_AUTHORISED)


def enroll_token(setting: Setting, owner_auth: Secret) -> tuple[PlatformState, bool]:
    """Enroll the owner's token as a destination, by its public half alone; False where it is one already.

    Raises NotProvisioned, OwnerAuthFailed, DestinationNotAllowed (the key has no offline branch).
    """
    state = provisioned(setting)
    owner = read_owner(state.owner_document)
    if any(d.identity == owner.token_id for d in state.destinations):
        return state, False
    drsk = state.require_drsk()
    if owner.recovery_key_name not in drsk.policy.offline_keys:
        raise DestinationNotAllowed("cannot enroll the token: the key's policy has no offline branch for it")
    state = replace(
        state, destinations=(*state.destinations, wrap_for_token(setting, state, owner.recovery_key, owner_auth))
    )
    setting.store.save(state)
    return state, True


def wrap_for_token(
    setting: Setting, state: PlatformState, recovery_key: bytes, owner_auth: Secret
) -> EnrolledDestination:
    """Duplicate the DRSK to a recovery key through its offline branch; the inner key is sealed on this chip."""
    drsk = state.require_drsk()
    recipient = name_of(recovery_key)
    duplicated = setting.tpm.duplicate(
        state.drsk_handle, recovery_key, drsk.policy, Branch(BranchKind.OFFLINE, recipient), (), owner_auth
    )
    plaintext = inner_plaintext(duplicated.inner_key.reveal(), state.platform_id, drsk.name)
    return EnrolledDestination(
        kind=DestinationKind.RECOVERY_TOKEN,
        identity=read_owner(state.owner_document).token_id,
        parent=recovery_key,
        outer=duplicated.outer,
        symmetric=AES_128_CFB_SYMMETRIC,
        inner_keys=(InnerKey(recipient, make_credential(recovery_key, plaintext, recipient)),),
        approvals=(),
        kept_inner_key=setting.tpm.create(state.srk_handle, _KEPT, auth=NO_SECRET, data=duplicated.inner_key),
    )
