"""One verb of `lmsctl luks` in a process that can be killed: each start of cryptsetup is a point, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from lms.apps.luks.enrolling import enroll
from lms.apps.luks.removing import remove
from lms.apps.luks.resealing import reseal
from lms.apps.luks.token import Binding
from lms.assembly import assembled
from lms.config import load_configuration
from lms.model.secret import Secret
from lms.service.acts import ACTS, Call
from lms.service.setting import NO_SECRET
from tests.support.volumes import PASSPHRASE


def run(config: Path, order: Path, points: Any) -> int:
    """Do what the order says: verb, volume, the directory of records, PCRs."""

    def look(name: str, arguments: object) -> None:
        if name == "subprocess.Popen":
            points.touch()

    sys.addaudithook(look)
    given = json.loads(order.read_text())
    volume, directory, binding = Path(given["volume"]), Path(given["directory"]), Binding(tuple(given["pcrs"]))
    with assembled(load_configuration(config), NO_SECRET) as setting:

        def acts(verb, options, inputs=(), collected=()):
            call = Call(options, {word: Secret(value) for word, value in dict(inputs).items()})
            answer = ACTS[verb](call, setting)
            return answer, {word: call.offered[word].reveal() for word in collected}

        verbs = {
            "enroll": lambda: enroll(acts, volume, directory, lambda: PASSPHRASE, binding, NO_SECRET),
            "reseal": lambda: reseal(acts, volume, directory, lambda: PASSPHRASE, lambda: NO_SECRET),
            "remove": lambda: remove(acts, volume, directory, lambda: PASSPHRASE),
        }
        verbs[given["verb"]]()
    return 0
