"""A guest whose keys a package in its archive and the token hold: how a person got it there, and gets it back."""

from __future__ import annotations

from typing import Any, Final

from tests.support.guest import Guest
from tests.support.platform import Token

SECRET: Final = b"what an application keeps"
OWNER_AUTH: Final = b"what only the owner knows"
_AUTH: Final = ("--owner-auth", "/root/owner-auth")
_PLACE: Final = ("--application", "vm", "--label", "secret")


def protect(guest: Guest, token: Token) -> None:
    """Provision it, enroll the token, seal SECRET, archive. /root has token, password and owner authorisation then."""
    guest.trust_maker()
    guest.put(token.owner.document, "/root/owner.xml")
    guest.put(token.document, "/root/token.xml")
    guest.put(token.password, "/root/password")
    guest.put(OWNER_AUTH, "/root/owner-auth")
    owner = ("--owner", "/root/owner.xml", "--fingerprint", token.fingerprint)
    guest.lmsctl("provision", *owner, "--offline-token", *_AUTH)
    guest.lmsctl("enroll", "token", *_AUTH)
    guest.lmsctl("seal", *_PLACE, "--data", "-", "--output", "/root/sealed.pem", given=SECRET)
    guest.lmsctl("archive")


def restore(guest: Guest) -> dict[str, Any]:
    """On another TPM, with what is in /root; the answer of `lmsctl`."""
    return guest.lmsctl("restore", "--token", "/root/token.xml", "--token-password", "/root/password", *_AUTH)


def unsealed(guest: Guest) -> bytes:
    """SECRET, by another's hand: what `retrieve` gives is loaded and unsealed with tpm2-tools. Raises GuestRefused."""
    guest.run("rm -rf /root/sealed && mkdir /root/sealed")
    guest.lmsctl("retrieve", *_PLACE, "--output", "/root/sealed/key")
    guest.run("cd /root/sealed && tpm2_load -Q -C 0x81000004 -u key.pub -r key.priv -c context")
    return guest.run("tpm2_unseal -c /root/sealed/context").content
