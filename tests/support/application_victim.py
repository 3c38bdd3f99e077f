"""One verb of an application in a process that can be killed: each start of a program is a point, too.

The service's acts are done in the same process, so that their changes of files are points as well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from lms.apps.csp.adding import Wanted, add
from lms.apps.csp.pkcs12 import read_pkcs12
from lms.apps.kernel.blobs import Master
from lms.apps.kernel.creating import create
from lms.apps.kernel.files import Files
from lms.apps.luks.enrolling import enroll
from lms.apps.luks.removing import remove
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.assembly import assembled
from lms.config import load_configuration
from lms.model.secret import Secret
from lms.service.acts import ACTS, Call
from lms.service.setting import NO_SECRET
from tests.support.containers import PASSWORD
from tests.support.volumes import person

RECORDS: Final = "apps"
"""Below the directory of an application's things: what we keep of it."""


def _enroll(acts: Any, ours: Path, pcrs: list[int]) -> None:
    enroll(acts, ours / "volume", ours / RECORDS, person, Binding(tuple(pcrs)), NO_SECRET)


def _reseal(acts: Any, ours: Path) -> None:
    reseal(acts, ours / "volume", ours / RECORDS, person, lambda: NO_SECRET)


def _remove(acts: Any, ours: Path) -> None:
    remove(acts, ours / "volume", ours / RECORDS, person)


def _evm(acts: Any, ours: Path, master: str, replace: bool) -> None:
    create(acts, Files(ours / "keys", ours / RECORDS), Master(master), replace=replace)


def _csp(acts: Any, ours: Path, source: str | None) -> None:
    brought = None if source is None else read_pkcs12(Path(source).read_bytes(), Secret(PASSWORD), Path(source))
    add(acts, ours / "keys" / "web.pem", ours / RECORDS, Wanted(brought=brought))


_VERBS: Final[MappingProxyType[str, Callable[..., None]]] = MappingProxyType(
    {"luks enroll": _enroll, "luks reseal": _reseal, "luks remove": _remove, "evm create": _evm, "csp add": _csp}
)


def run(config: Path, order: Path, points: Any) -> int:
    """Do what the order says: a verb, the directory of its application's things, and what else it is told."""

    def look(name: str, arguments: object) -> None:
        if name == "subprocess.Popen":
            points.touch()

    sys.addaudithook(look)
    given = json.loads(order.read_text())
    with assembled(load_configuration(config), NO_SECRET) as setting:

        def acts(verb, options, inputs=(), collected=()):
            call = Call(options, {word: Secret(value) for word, value in dict(inputs).items()})
            answer = ACTS[verb](call, setting)
            return answer, {word: call.offered[word].reveal() for word in collected}

        _VERBS[given["verb"]](acts, Path(given["ours"]), **given["told"])
    return 0
