"""The acts on what applications entrust: `register`, `unregister`, `retrieve`, `seal`, `unseal`, `pcrs`, and `keys`.

Values come and go as secrets under the words of DESIGN §4; an answer says only what stands where.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from lms.errors import BadRequest
from lms.model.keys import ApplicationAlgorithm, Name
from lms.model.packages import SYSTEM, ItemUsage
from lms.model.registered import Entry, RegisteredItem, RegisteredKey
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.names import DATA, OWNER_AUTH, PASSWORD, PRIVATE, PUBLIC, SENSITIVE, USER_PASSWORD
from lms.service.acts.call import Answer, Call
from lms.service.application import import_key, make_key
from lms.service.register import Where, entry_at, listed, place_of, register_item, register_key, unregister
from lms.service.retrieve import retrieve
from lms.service.seal import seal, unseal
from lms.service.setting import Setting, provisioned
from lms.wire.inspection import WEAKER

_PCRS: Final = 24
_USAGES: Final = {PASSWORD: ItemUsage.PASSWORD, DATA: ItemUsage.DATA}


def _where(call: Call) -> Where:
    return Where(call.word("application"), call.word("label"), call.text("user"))


def described(entry: Entry) -> Answer:
    """An entry without what is secret in it."""
    place = entry.place
    known: Answer = {"owner": place.owner, "application": place.application, "label": place.label}
    if isinstance(entry, RegisteredKey):
        return {"kind": "key", **known, "name": str(entry.name), "parent": str(entry.parent)}
    return {"kind": entry.usage.value, **known}


def register(call: Call, setting: Setting) -> Answer:
    """A password, data, a key's public and private area, its public and sensitive one; or `algorithm`: a new key."""
    words = [word for word in (PASSWORD, DATA, PUBLIC) if call.given(word)]
    halves = [word for word in (PRIVATE, SENSITIVE) if call.given(word)]
    algorithm = call.text("algorithm")
    if len(words) > 1 or len(halves) > 1 or (halves and words != [PUBLIC]) or (words and algorithm is not None):
        raise BadRequest("cannot register more than one thing at once: a password, data, or a key's two areas")
    if algorithm is not None:
        return _make_key(call, setting, algorithm)
    if words == [PUBLIC]:
        return _import_key(call, setting) if halves == [SENSITIVE] else _register_key(call, setting)
    if not words:
        raise BadRequest("cannot register nothing: give a password, data, or a key's two areas")
    where = _where(call)
    if place_of(call.caller, where).owner != SYSTEM:
        call.require(USER_PASSWORD)
    (word,) = words
    item = register_item(setting, call.caller, where, _USAGES[word], call.secret(word), call.secret(USER_PASSWORD))
    return described(item) | {"changed": True}


def _register_key(call: Call, setting: Setting) -> Answer:
    key = SealedObject(call.document(PUBLIC), call.document(PRIVATE))
    entry, changed = register_key(setting, call.caller, _where(call), key, _parent(call), call.secret(USER_PASSWORD))
    return described(entry) | {"changed": changed}


def _make_key(call: Call, setting: Setting, algorithm: str) -> Answer:
    try:
        wanted = ApplicationAlgorithm(algorithm)
    except ValueError:
        known = ", ".join(one.value for one in ApplicationAlgorithm)
        raise BadRequest(f"cannot make a key of '{algorithm}': one of {known}") from None
    return _handed_out(call, make_key(setting, call.caller, _where(call), wanted), changed=True)


def _import_key(call: Call, setting: Setting) -> Answer:
    public, sensitive = call.document(PUBLIC), Secret(call.document(SENSITIVE))
    entry, changed = import_key(setting, call.caller, _where(call), public, sensitive)
    return _handed_out(call, entry, changed=changed)


def _handed_out(call: Call, entry: RegisteredKey, *, changed: bool) -> Answer:
    """A key that is here for the first time, its areas to be collected."""
    call.offer(PUBLIC, Secret(entry.key.public))
    call.offer(PRIVATE, Secret(entry.key.private))
    return described(entry) | {"changed": changed, "collect": [PRIVATE, PUBLIC]}


def _parent(call: Call) -> Name | None:
    name = call.text("parent")
    try:
        return None if name is None else Name.from_text(name)
    except ValueError:
        raise BadRequest("cannot read the Name in --parent: upper-case hexadecimal digits") from None


def unregister_entry(call: Call, setting: Setting) -> Answer:
    """Forget an entry; older packages still hold it."""
    return {"changed": unregister(setting, call.caller, _where(call))}


def retrieve_entry(call: Call, setting: Setting) -> Answer:
    """Hand an entry out, by the words of what it is."""
    where = _where(call)
    entry = entry_at(provisioned(setting).registry, call.caller, where)
    if isinstance(entry, RegisteredItem) and entry.place.owner != SYSTEM:
        call.require(USER_PASSWORD)
    values = retrieve(setting, call.caller, where, call.secret(OWNER_AUTH), call.secret(USER_PASSWORD))
    for word, value in values.items():
        call.offer(word, value)
    return described(entry) | {"collect": sorted(values)}


def seal_secret(call: Call, setting: Setting) -> Answer:
    """Seal `data` below the DRSK under the own authorisation `password`, or under a policy; its areas are collected."""
    value = Secret(call.document(DATA))
    entry = seal(setting, call.caller, _where(call), value, call.secret(PASSWORD), _policy(call), call.flag("counted"))
    state = provisioned(setting)
    above = base64.b64encode(state.require_drsk().key.public).decode("ascii")
    known: Answer = {"handle": f"{state.drsk_handle:#x}", "parent-public": above}
    return _handed_out(call, entry, changed=True) | known


def _policy(call: Call) -> bytes:
    policy = call.text("policy")
    if policy is None:
        return b""
    if not re.fullmatch("[0-9a-fA-F]{64}", policy):
        raise BadRequest("cannot read the policy: 64 hexadecimal digits, a digest of SHA-256")
    return bytes.fromhex(policy)


def unseal_secret(call: Call, setting: Setting) -> Answer:
    """Hand out what is sealed below the DRSK in the areas that were given, and nothing that is no sealed object."""
    key = SealedObject(call.document(PUBLIC), call.document(PRIVATE))
    call.offer(DATA, unseal(setting, key, _pcrs(call), call.secret(PASSWORD)))
    return {"collect": [DATA]}


def read_pcrs(call: Call, setting: Setting) -> Answer:
    """The values of PCRs, by their numbers, as hexadecimal digits."""
    values = setting.tpm.read_pcrs(_pcrs(call))
    return {"bank": "sha256", "values": {str(number): value.hex() for number, value in values.items()}}


def _pcrs(call: Call) -> tuple[int, ...]:
    """As "7,11". Raises BadRequest."""
    words = (call.text("pcrs") or "").split(",")
    if words == [""]:
        return ()
    if not all(re.fullmatch("[0-9]{1,2}", word) and int(word) < _PCRS for word in words):
        raise BadRequest("cannot read the list of PCRs: numbers from 0 to 23, between them commas")
    return tuple(sorted({int(word) for word in words}))


def keys(call: Call, setting: Setting) -> Answer:
    """What the caller registered, everything for root; and where the key above all of it is weaker, that it is."""
    state = provisioned(setting)
    answer: Answer = {"entries": [described(entry) for entry in listed(state, call.caller)]}
    if state.require_drsk().policy.owner_alone:
        answer |= {"weaker": WEAKER, "birth-evidence": False}
    return answer
