"""A password by systemd's password agents (its Password Agents Specification): console, plymouth or a terminal.

It is asked for by systemd's own program, which hands it over by a pipe.
"""

from __future__ import annotations

from lms.model.secret import Secret
from lms.process import run_command


def asked_password(question: str, patience_s: int) -> Secret | None:
    """What somebody typed; None where nobody did in time, or only pressed Enter. Raises ProgramNotStarted."""
    asking = ("--no-tty", "--id=lms:token", "--icon=drive-removable-media", f"--timeout={patience_s}")
    ran = run_command("systemd-ask-password", *asking, question)
    password = Secret(ran.out.removesuffix(b"\n"))
    return None if ran.code or not password else password
