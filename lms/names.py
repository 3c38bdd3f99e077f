"""Words that several floors must spell alike, each spelled once (DESIGN §4)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

# No clock is before the day of this release (PROTOCOL §5); each release sets it.
RELEASED: Final = datetime(2025, 6, 1, tzinfo=UTC)

DEFAULT_CONFIG: Final = "/etc/lms/lms.toml"
DEFAULT_STATE_DIRECTORY: Final = "/var/lib/lms"
DEFAULT_RECOVERY_DIRECTORY: Final = "/boot/lms"
DEFAULT_AUTHORITY_DIRECTORY: Final = "/var/lib/lms-authority"
DEFAULT_APPLICATIONS_DIRECTORY: Final = "/var/lib/lms-applications"
DEFAULT_STATION_DIRECTORY: Final = "/var/lib/lms-station"

# Files in the recovery directory.
RECOVERY_SHEET: Final = "lms-recovery.xml"
RECOVERY_PACKAGE: Final = "lms-package.xml"
RECOVERY_FACTS: Final = "lms-facts.json"
# Files in the state directory: the state, and what is written anew when keys came back.
STATE: Final = "state.json"
ITEMS: Final = "items"
RESTORED: Final = "restored"

# Words of secrets, handed over by descriptor.
OWNER_AUTH: Final = "owner-auth"
TOKEN: Final = "token"
TOKEN_PASSWORD: Final = "token-password"
PACKAGE: Final = "package"
GRANT: Final = "grant"
OWNER: Final = "owner"
ENDORSEMENT_AUTH: Final = "endorsement-auth"
USER_PASSWORD: Final = "user-password"
PUBLIC: Final = "public"
PRIVATE: Final = "private"
SENSITIVE: Final = "sensitive"
PASSWORD: Final = "password"
DATA: Final = "data"
SHEET: Final = "sheet"
APPROVAL: Final = "approval"
CONFIRMATION: Final = "confirmation"
NEW_PASSWORD: Final = "new-password"
PERSONAL_SECRET: Final = "personal-secret"
RESET_CODE: Final = "reset-code"

# The bus.
BUS_NAME: Final = "org.localmigration1"
ROOT_PATH: Final = "/org/localmigration1"
MANAGER: Final = "org.localmigration1.Manager"
JOB: Final = "org.localmigration1.Job"
KEY: Final = "org.localmigration1.Key"
PACKAGE_OBJECT: Final = "org.localmigration1.Package"
AUTHORITY: Final = "org.localmigration1.Authority"
ERROR_PREFIX: Final = "org.localmigration1.Error."
ACTION_PREFIX: Final = "org.localmigration1."
