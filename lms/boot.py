"""The acts of the service without a bus: one act, then the end. For rescue systems, early boot, and machines
where no daemon runs (DESIGN §5).

    python3 -I -m lms.boot VERB [--config FILE] --options=FD [--WORD=FD …] --answer=FD

`options` is a JSON object of the verb's long options, the words of secrets are those of DESIGN §4; the answer
is a JSON object.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from lms.adapters.opener import OpenerProcess
from lms.assembly import assembled
from lms.config import Configuration, load_configuration
from lms.errors import BadRequest, LmsError
from lms.model.keys import Name, digits
from lms.model.platform import PlatformState
from lms.model.secret import Secret
from lms.names import ENDORSEMENT_AUTH, GRANT, OWNER, OWNER_AUTH, PACKAGE, TOKEN, TOKEN_PASSWORD
from lms.process import read_descriptor, report
from lms.service.archive import archive
from lms.service.enroll import enroll_token
from lms.service.enrolment import accept_grant, request_enrolment
from lms.service.provision import Provisioning, provision
from lms.service.restore import WORDS, Reason, RestoreOrder, diagnose, restore_by_token
from lms.service.setting import Setting
from lms.wire.anchor import read_owned_token, read_owner

Answer = dict[str, Any]
_NOTHING: Final = Secret(b"")


class Call:
    """One act as it was asked for: options by their long names, secrets by their words."""

    def __init__(self, configuration: Configuration, options: Mapping[str, Any], secrets: Mapping[str, bytes]) -> None:
        self.configuration = configuration
        self.options = options
        self._secrets = secrets

    def secret(self, word: str) -> Secret:
        """A secret; empty where none was given."""
        return Secret(self._secrets.get(word, b""))

    def given(self, word: str) -> bool:
        """Whether a document came with the call."""
        return word in self._secrets

    def document(self, word: str) -> bytes:
        """A document that the act cannot do without. Raises BadRequest."""
        if word not in self._secrets:
            raise BadRequest(f"cannot do this without '{word}'")
        return self._secrets[word]


def _facts(state: PlatformState) -> Answer:
    return {
        "platform": str(state.platform_id),
        "state": state.health.value,
        "owner": digits(read_owner(state.owner_document).fingerprint),
        "key": None if state.drsk is None else state.drsk.name.digits,
        "key-name": None if state.drsk is None else str(state.drsk.name),
        "handle": f"{state.drsk_handle:#x}",
        "destinations": [{"kind": d.kind.value, "id": d.identity} for d in state.destinations],
        "sequence": state.sequence,
        "approved": state.enrolment is not None,
        "one-party": "token" if state.drsk is not None and state.drsk.policy.offline_keys else None,
    }


def _status(call: Call, setting: Setting) -> Answer:
    state = setting.store.load()
    if state is None or state.drsk is None:
        return {"state": "unprovisioned", "owner-auth-set": setting.tpm.owner_auth_is_set()}
    reason = diagnose(setting, state)
    answer = _facts(state)
    if reason is not Reason.INTACT:
        answer["state"] = "restore-needed"
    return answer | {
        "reason": reason.value,
        "explanation": WORDS[reason],
        "owner-auth-set": setting.tpm.owner_auth_is_set(),
        "lockout-auth-set": setting.tpm.lockout_auth_is_set(),
    }


def _provision(call: Call, setting: Setting) -> Answer:
    order = Provisioning(
        owner_document=call.document(OWNER),
        fingerprint=call.options.get("fingerprint", ""),
        offline_token=call.options.get("offline-token", False),
        algorithm=call.configuration.algorithm,
        srk_handle=call.configuration.srk_handle,
        drsk_handle=call.configuration.drsk_handle,
        new_platform_id=uuid4(),
        unverified_tpm=call.options.get("unverified-tpm", False),
    )
    state, changed = provision(setting, order, call.secret(OWNER_AUTH))
    return _facts(state) | {"changed": changed}


def _enroll(call: Call, setting: Setting) -> Answer:
    if call.options.get("destination") == "msa":
        return _enroll_msa(call, setting)
    state, changed = enroll_token(setting, call.secret(OWNER_AUTH))
    return _facts(state) | {"changed": changed}


def _enroll_msa(call: Call, setting: Setting) -> Answer:
    if call.given(GRANT):
        return _facts(accept_grant(setting, call.document(GRANT), call.secret(ENDORSEMENT_AUTH))) | {"changed": True}
    document, request_id = request_enrolment(setting)
    return {"request": digits(request_id), "document": base64.b64encode(document).decode("ascii")}


def _archive(call: Call, setting: Setting) -> Answer:
    return _facts(archive(setting)) | {"changed": True, "only-copy": not setting.archives}


def _restore(call: Call, setting: Setting) -> Answer:
    token = call.document(TOKEN)
    _, owner = read_owned_token(token)
    package = call.document(PACKAGE) if call.options.get("package-given") else setting.store.load_package()
    if package is None:
        raise BadRequest("cannot restore: no package is at hand, name one with --package")
    foreign = call.options.get("replace-foreign")
    try:
        replace_foreign = None if foreign is None else Name.from_text(foreign)
    except ValueError:
        raise BadRequest("cannot read the Name in --replace-foreign: 68 upper-case hexadecimal digits") from None
    order = RestoreOrder(
        package=package,
        owner=owner,
        srk_handle=call.configuration.srk_handle,
        drsk_handle=call.configuration.drsk_handle,
        unverified_tpm=call.options.get("unverified-tpm", False),
        confirmed_key=call.options.get("confirm-key"),
        accepted_stale=call.options.get("accept-stale"),
        replace_foreign=replace_foreign,
    )
    opener = OpenerProcess(token, call.secret(TOKEN_PASSWORD))
    restored = restore_by_token(setting, opener, order, call.secret(OWNER_AUTH), call.secret(ENDORSEMENT_AUTH))
    return _facts(restored.state) | {
        "changed": restored.changed,
        "reason": restored.reason.value,
        "explanation": WORDS[restored.reason],
        "age-known": restored.age_known,
    }


ACTS: Final[Mapping[str, Callable[[Call, Setting], Answer]]] = {
    "status": _status,
    "provision": _provision,
    "enroll": _enroll,
    "archive": _archive,
    "restore": _restore,
}
_WORDS: Final = (OWNER_AUTH, ENDORSEMENT_AUTH, TOKEN, TOKEN_PASSWORD, OWNER, PACKAGE, GRANT)


def main() -> int:
    """Do one act."""
    os.umask(0o077)
    parser = argparse.ArgumentParser(prog="lms.boot")
    parser.add_argument("act", choices=tuple(ACTS))
    parser.add_argument("--config", type=Path)
    for word in (*_WORDS, "options", "answer"):
        parser.add_argument(f"--{word}", type=int, metavar="FD", required=word in ("options", "answer"))
    arguments = vars(parser.parse_args())
    try:
        configuration = load_configuration(arguments["config"])
        given = {w: read_descriptor(fd) for w in _WORDS if (fd := arguments[w.replace("-", "_")]) is not None}
        call = Call(configuration, json.loads(read_descriptor(arguments["options"])), given)
        with assembled(configuration, call.secret(ENDORSEMENT_AUTH)) as setting:
            answer = ACTS[arguments["act"]](call, setting)
        with os.fdopen(arguments["answer"], "w", encoding="utf-8") as file:
            json.dump(answer, file)
    except LmsError as error:
        report(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
