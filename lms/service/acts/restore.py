"""The act `restore`: the keys of a package on this TPM (PROTOCOL §8)."""

from __future__ import annotations

from lms.errors import BadRequest
from lms.model.keys import Name
from lms.names import ENDORSEMENT_AUTH, OWNER_AUTH, PACKAGE, TOKEN, TOKEN_PASSWORD
from lms.service.acts.call import Answer, Call
from lms.service.acts.facts import facts
from lms.service.diagnosis import WORDS
from lms.service.restore import RestoreOrder, restore_by_token
from lms.service.setting import Setting
from lms.wire.anchor import read_owned_token


def restore(call: Call, setting: Setting) -> Answer:
    """Bring the DRSK back with the owner's token."""
    call.require(TOKEN, TOKEN_PASSWORD)
    token = call.document(TOKEN)
    _, owner = read_owned_token(token)
    package = call.document(PACKAGE) if call.flag("package-given") else setting.store.load_package()
    if package is None:
        raise BadRequest("cannot restore: no package is at hand, name one with --package")
    order = RestoreOrder(
        package=package,
        owner=owner,
        srk_handle=setting.srk_handle,
        drsk_handle=setting.drsk_handle,
        unverified_tpm=call.flag("unverified-tpm"),
        confirmed_key=call.text("confirm-key"),
        accepted_stale=call.number("accept-stale"),
        replace_foreign=_foreign(call),
    )
    opener = setting.opener(token, call.secret(TOKEN_PASSWORD))
    restored = restore_by_token(setting, opener, order, call.secret(OWNER_AUTH), call.secret(ENDORSEMENT_AUTH))
    return facts(restored.state) | {
        "changed": restored.changed,
        "reason": restored.reason.value,
        "explanation": WORDS[restored.reason],
        "age-known": restored.age_known,
    }


def _foreign(call: Call) -> Name | None:
    name = call.text("replace-foreign")
    try:
        return None if name is None else Name.from_text(name)
    except ValueError:
        raise BadRequest("cannot read the Name in --replace-foreign: 68 upper-case hexadecimal digits") from None
