"""The acts on what applications entrust: `register`, `unregister`, `retrieve`, `seal` and the listing `keys`.

Values come and go as secrets under the words of DESIGN §4; an answer says only what stands where.
"""

from __future__ import annotations

from typing import Final

from lms.errors import BadRequest
from lms.model.keys import Name
from lms.model.packages import SYSTEM, ItemUsage
from lms.model.registered import Entry, RegisteredItem, RegisteredKey
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.names import DATA, OWNER_AUTH, PASSWORD, PRIVATE, PUBLIC, USER_PASSWORD
from lms.service.acts.call import Answer, Call
from lms.service.register import Where, entry_at, listed, place_of, register_item, register_key, unregister
from lms.service.retrieve import retrieve
from lms.service.seal import seal
from lms.service.setting import Setting, provisioned

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
    """A password, data, or the public and private area of a key."""
    words = [word for word in (PASSWORD, DATA, PUBLIC) if call.given(word)]
    if len(words) > 1 or (call.given(PRIVATE) and words != [PUBLIC]):
        raise BadRequest("cannot register more than one thing at once: a password, data, or a key's two areas")
    if words == [PUBLIC]:
        return _register_key(call, setting)
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
    """Seal `data` below the DRSK under the own authorisation `password`; its areas are collected."""
    entry = seal(setting, call.caller, _where(call), Secret(call.document(DATA)), call.secret(PASSWORD))
    call.offer(PUBLIC, Secret(entry.key.public))
    call.offer(PRIVATE, Secret(entry.key.private))
    handle = provisioned(setting).drsk_handle
    return described(entry) | {"changed": True, "handle": f"{handle:#x}", "collect": [PRIVATE, PUBLIC]}


def keys(call: Call, setting: Setting) -> Answer:
    """What the caller registered; everything for root."""
    return {"entries": [described(entry) for entry in listed(provisioned(setting), call.caller)]}
