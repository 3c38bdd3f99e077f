"""The look, and only where it finds something else the rest."""

from __future__ import annotations

import sys
from pathlib import Path

from lms.config import load_configuration
from lms.early.looking import facts_in, is_in_its_place, require_token
from lms.errors import LmsError


def _ensure(config: Path | None) -> None:
    """The key is in its place, or there is none, when this returns."""
    configuration = load_configuration(config)
    facts = facts_in(configuration.recovery)
    if facts is None or is_in_its_place(configuration.tcti, facts):
        return
    require_token(configuration.recovery_token)
    from lms.early.restoring import restore  # three times what the look takes

    restore(configuration, config, facts)


def _config(words: list[str]) -> Path | None:
    match words:
        case []:
            return None
        case ["--config", file]:
            return Path(file)
    raise SystemExit("usage: python3 -I -m lms.early [--config FILE]")


def main() -> int:
    """Ensure the key, or tell the journal why it cannot be."""
    try:
        _ensure(_config(sys.argv[1:]))
    except LmsError as error:
        sys.stderr.write(f"lms-restore: {error}\nlms-restore: hint: {error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
