"""A guest with all that this project is for: its volume, the key of EVM and a key of OpenSSL open by the TPM.

Their keys are kept by the owner's token and at an authority. How a person got them there, and sees that they work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.documents import PASSWORD
from tests.support.guest import LUKS_DISK, Guest
from tests.support.protected import OWNER_AUTH
from tests.support.station import Serving, Station

VOLUME_QUESTION: Final = "enter passphrase for disk"
TOKEN_QUESTION: Final = "Password of the recovery token"
PASSPHRASE: Final = "correct horse battery staple"
CONTENT: Final = b"what lies on the volume"
CRYPTSETUP: Final = "systemd-cryptsetup@volume.service"
EVM: Final = "lms-evm.service"
KEY: Final = "/etc/ssl/web.pem"
_AUTH: Final = ("--owner-auth", "/root/owner-auth")
_BLOBS: Final = "/etc/keys/kmk-trusted.blob", "/etc/keys/evm-trusted.blob", KEY
_HEADER: Final = 16 << 20  # bytes: what `luksFormat` leaves for it


@dataclass
class Kept:
    """A guest that is off, what no restore may touch of it, its owner, and the authority that has its keys."""

    guest: Guest
    blobs: list[bytes]
    owner: Station
    authority: Serving


def keep(guest: Guest, owner: Station, exchange: Path) -> None:
    """Provision it, and enroll it with the owner's token and authority, by files that somebody carries."""
    guest.trust_maker()
    guest.put(owner.owner.owner.document, "/root/owner.xml")
    guest.put(owner.token.read_bytes(), "/root/token.xml")
    guest.put(PASSWORD.reveal(), "/root/password")
    guest.put(OWNER_AUTH, "/root/owner-auth")
    whose = ("--owner", "/root/owner.xml", "--fingerprint", owner.owner.fingerprint)
    guest.lmsctl("provision", *whose, "--offline-token", *_AUTH)
    request, grant = exchange / "request", exchange / "grant"
    asked = guest.lmsctl("enroll", "msa", "--request-to", "/root/request.xml")
    request.write_bytes(guest.get("/root/request.xml"))
    assert owner.approve(request, "--digits", asked["request"], "--output", grant).exit_code == 0
    guest.put(grant.read_bytes(), "/root/grant.xml")
    guest.lmsctl("enroll", "msa", "--grant", "/root/grant.xml")
    guest.lmsctl("enroll", "token", *_AUTH)
    guest.lmsctl("enroll", "ma", *_AUTH)


def format_volume(guest: Guest) -> None:
    """A volume that a passphrase opens; it is in /root/passphrase."""
    guest.put(PASSPHRASE, "/root/passphrase")
    guest.run(f"cryptsetup luksFormat -q --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {LUKS_DISK} /root/passphrase")


def open_at_boot(guest: Guest) -> None:
    """The volume is at /volume, now and after a boot that waits for nobody; CONTENT is on it.

    A person opens it now: how it opens by itself is the business of the next boot.
    """
    guest.put(f"volume {LUKS_DISK} none tpm2-device=auto,headless,nofail\n", "/etc/crypttab")
    guest.run("echo '/dev/mapper/volume /volume ext4 nofail 0 2' >>/etc/fstab")
    guest.run(f"systemctl daemon-reload && cryptsetup open --key-file /root/passphrase {LUKS_DISK} volume")
    guest.run("mke2fs -q -t ext4 /dev/mapper/volume && mkdir /volume && mount /volume")
    guest.put(CONTENT, "/volume/content")


def entrust(guest: Guest) -> None:
    """A volume at /volume, the key of EVM and a key of OpenSSL; all come up at boot, and a package has them."""
    format_volume(guest)
    guest.lmsctl("luks", "enroll", "--passphrase", "/root/passphrase", LUKS_DISK)
    open_at_boot(guest)
    guest.lmsctl("evm", "create")
    guest.lmsctl("csp", "add", KEY)
    guest.run(f"systemctl enable {EVM}")
    guest.lmsctl("archive")


def await_the_volume(guest: Guest) -> None:
    """From now on a boot goes on when it is open, and somebody is asked for its passphrase."""
    guest.run("sed -i s/,headless,nofail// /etc/crypttab && sed -i '\\,/volume,s/nofail/defaults/' /etc/fstab")


def boot_and_answer(guest: Guest, answers: Mapping[str, str]) -> None:
    """Its boot asks one after the other, and goes on when a person has answered."""
    guest.start(wait=False)
    assert guest.console is not None
    for question, answer in answers.items():
        guest.console.wait(question)
        guest.console.type(answer)
    guest.await_up()


def unchanged(guest: Guest) -> list[bytes]:
    """What no restore may touch: blobs, and a digest of the volume's header."""
    header = guest.run(f"head -c {_HEADER} {LUKS_DISK} | sha256sum").content
    return [*map(guest.get, _BLOBS), header]


def is_open(guest: Guest) -> bool:
    """The volume is mounted when the boot is over."""
    guest.await_all()
    return guest.state(CRYPTSETUP) == "active" and guest.get("/volume/content") == CONTENT


def verifies_attributes(guest: Guest) -> bool:
    """EVM has its key."""
    return guest.state(EVM) == "active" and guest.get("/sys/kernel/security/evm") == b"1"


def signs(guest: Guest) -> bool:
    """OpenSSL signs with its key, and another process verifies that without a TPM."""
    tpm = "-provider tpm2 -provider default -propquery '?provider=tpm2'"
    sign = f"openssl pkeyutl {tpm} -sign -rawin -digest sha256 -inkey {KEY} -in data -out signature"
    public = f"openssl pkey {tpm} -in {KEY} -pubout -out public"
    verify = "openssl dgst -sha256 -verify public -signature signature data"
    return guest.run(f"cd /run && echo data >data && {sign} && {public} && {verify}", check=False).code == 0


def works(guest: Guest) -> tuple[bool, bool, bool]:
    """Volume, EVM and OpenSSL."""
    return is_open(guest), verifies_attributes(guest), signs(guest)


def approve(guest: Guest, owner: Station, authority: Serving, exchange: Path) -> None:
    """What its owner does, far from the network: reads the digits at the machine, and sends a file back."""
    guest.run('timeout 300 sh -c \'until lmsctl --json status | grep -q "\\"request\\": \\""; do sleep 1; done\'')
    digits = guest.lmsctl("status")["request"]
    listed = authority.place.run("pending", "--export", exchange / "pending").json["requests"]
    (request,) = (Path(one["files"]) for one in listed)
    answer = exchange / "approval"
    how = ("--annex", request.with_suffix(".annex.xml"), "--digits", digits, "--output", answer)
    assert owner.approve(request, *how).exit_code == 0
    assert authority.place.run("take", answer).json["changed"]
