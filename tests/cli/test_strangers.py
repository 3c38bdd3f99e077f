"""Who does not belong here is told so, and what to do next: each stranger has an error of his own."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from lms.adapters.vault import open_vault
from lms.assembly import utc_now
from lms.model.keys import digits
from lms.model.trust import Mode
from lms.service.enroll import enroll_authority
from lms.wire.enrolment import read_authority_enrolment
from lms.wire.exchange_v1 import DOCUMENTS, TRUST_LIST
from lms.wire.signature import sign
from lms.wire.trust_list import read_trust_list
from tests.support.authority import Place, Program, kept_port
from tests.support.documents import make_owner, make_package, make_platform
from tests.support.exchange import examples
from tests.support.migration import Office, approve_platform
from tests.support.platform import OWNER_AUTH, Platform, lmsctl
from tests.support.restoring import signed_sheet
from tests.support.swtpm import SoftwareTpm

THEIRS = make_platform()
"""Of the owner `owner`, who is nobody here."""


def signed_example(name: str) -> bytes:
    """A valid document of that owner's."""
    kind, value, signer = examples()[name]
    return sign(DOCUMENTS[kind].write(value), signer)


@pytest.fixture
def files(tmp_path, token, stranger, package):
    """What is at hand: ours by plain names, and another owner's."""
    contents = {
        "token": token.document,
        "owner": token.owner.document,
        "password": token.password,
        "auth": OWNER_AUTH.reveal(),
        "package": package,
        "their-token": stranger.document,
        "their-password": stranger.password,
        "their-owner": stranger.owner.document,
        "their-package": THEIRS.signed(make_package(THEIRS)),
        "their-sheet": signed_sheet(THEIRS),
        "their-approval": signed_example("restore-approval"),
        "their-grant": signed_example("enrolment-grant"),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: str(tmp_path / name) for name in contents}


@pytest.fixture
def words(files, token, stranger):
    """Turns `@name` into the path of a file and `#whose` into an owner's fingerprint."""
    owners = {
        "#ours": token.fingerprint,
        "#stranger": stranger.fingerprint,
        "#theirs": digits(make_owner().owner.fingerprint),
    }

    def turn(order: str) -> list[str]:
        return [owners.get(word) or (files[word[1:]] if word[0] == "@" else word) for word in order.split()]

    return turn


def on_disk(platform) -> dict[str, bytes]:
    """What a platform knows."""
    files = (platform.state_directory / name for name in ("state.json", "package.xml"))
    return {file.name: file.read_bytes() for file in files if file.exists()}


def assert_told(said, error, exit_code, message, hint) -> None:
    """The error, in words that say what is wrong and what to do."""
    assert (said.json["error"], said.exit_code) == (error, exit_code), said.stderr
    assert message in said.json["message"]
    assert hint in said.json["hint"]
    assert said.stderr.startswith("lmsctl: cannot")


PROVISION = "provision --owner @owner --fingerprint #ours --owner-auth @auth"
RESTORE = "restore --unverified-tpm --owner-auth @auth"
TOKEN = "--token @token --token-password @password"

# A machine that nobody provisioned: order, error, exit code, words of message and hint.
BARE = {
    "archive": ("archive", "NotProvisioned", 7, "provisioned", "lmsctl provision"),
    "enroll a token": ("enroll token --owner-auth @auth", "NotProvisioned", 7, "provisioned", "lmsctl provision"),
    "enroll at the msa": ("enroll msa --request-to request", "NotProvisioned", 7, "provisioned", "lmsctl provision"),
    "packages": ("packages", "NotProvisioned", 7, "provisioned", "lmsctl provision"),
    "authorities": ("authorities", "NotProvisioned", 7, "provisioned", "lmsctl provision"),
    "restore of nothing": (RESTORE, "PlatformUnknown", 7, "no state", "--sheet"),
    "restore without a package": (f"{RESTORE} {TOKEN}", "BadRequest", 2, "--package", "--help"),
    "an unconfirmed package": (
        f"{RESTORE} {TOKEN} --package @package", "UnconfirmedPackage", 7, "testhost", "--confirm-key",
    ),
    "a tpm without certificate": (PROVISION, "EkUntrusted", 7, "no EK certificate", "--unverified-tpm"),
    "adopting nothing": (f"{PROVISION} --unverified-tpm --adopt", "KeyNotFound", 4, "no key lives", "restore"),
    "another owner's digits": (
        "provision --owner @owner --fingerprint #stranger", "FingerprintDiffers", 6, "fingerprint", "written down",
    ),
    "another owner's package": (
        f"{RESTORE} {TOKEN} --package @their-package", "UntrustedSigner", 6, "signer", "whose file",
    ),
    "a token for another's package": (
        f"{RESTORE} --token @their-token --token-password @their-password --package @package",
        "WrongDestination", 6, "no blob", "never enrolled here",
    ),
    "a sheet that is not this token's": (
        f"{RESTORE} {TOKEN} --sheet @their-sheet", "OwnerMismatch", 6, "another owner", "fingerprint",
    ),
    "a sheet of other digits": (
        f"{RESTORE} --sheet @their-sheet --fingerprint #ours", "FingerprintDiffers", 6, "fingerprint", "written down",
    ),
}  # fmt: skip

# A machine whose key went from its handle, and whose blob is spoilt.
LOST = {
    "another owner's token": (
        f"{RESTORE} --token @their-token --token-password @their-password",
        "OwnerMismatch", 6, "another owner", "fingerprint",
    ),
    "another owner's package": (
        f"{RESTORE} {TOKEN} --package @their-package", "UntrustedSigner", 6, "signer", "whose file",
    ),
    "another owner's sheet": (
        f"{RESTORE} --sheet @their-sheet --fingerprint #theirs", "OwnerMismatch", 6, "another owner", "fingerprint",
    ),
    "another owner's approval": (f"{RESTORE} --approval @their-approval", "UntrustedSigner", 6, "signer", "whose file"),
    "another owner's grant": ("enroll msa --grant @their-grant", "UntrustedSigner", 6, "signer", "whose file"),
    "another owner": (
        "provision --owner @their-owner --fingerprint #stranger --owner-auth @auth",
        "AlreadyProvisioned", 7, "another owner", "provisioned otherwise",
    ),
    "no clone": (f"{PROVISION} --unverified-tpm --new-platform", "NotAClone", 7, "this TPM is", "restore"),
    "no authority": (RESTORE, "NoAuthority", 7, "no authority", "--token"),
}  # fmt: skip

# The same disk, in another machine.
MOVED = {
    "archive": ("archive", "RestoreFirst", 7, "a clone", "restore"),
    "enroll": ("enroll token --owner-auth @auth", "RestoreFirst", 7, "a new board", "restore"),
    "provision": (
        f"{PROVISION} --offline-token --unverified-tpm", "CloneOrReplacement", 7, "another TPM", "--new-platform",
    ),
}  # fmt: skip


def _refused(platform, words, case) -> None:
    order, *told = case
    config, before = platform.write_config(), on_disk(platform)
    platform.let_go()
    assert_told(lmsctl(*words(order), config=config), *told)
    assert on_disk(platform) == before
    assert platform.key_at() is None
    platform.let_go()


@pytest.mark.parametrize("case", BARE.values(), ids=BARE)
def test_on_a_machine_that_nobody_provisioned(platform, words, case):
    _refused(platform, words, case)


@pytest.mark.parametrize("case", LOST.values(), ids=LOST)
def test_on_a_machine_that_lost_its_key(archived, words, case):
    archived.evict()
    archived.lose_blob()
    _refused(archived, words, case)
    assert lmsctl(*words(f"{RESTORE} {TOKEN}"), config=archived.write_config()).exit_code == 0


@pytest.mark.parametrize("case", MOVED.values(), ids=MOVED)
def test_on_another_machine_with_the_disk_of_a_provisioned_one(machines, archived_machine, words, case):
    _refused(machines(disk_of=archived_machine), words, case)


def test_a_clone_goes_on_as_a_platform_of_its_own(machines, archived_machine, words):
    clone = machines(disk_of=archived_machine)
    config, before = clone.write_config(), clone.state.platform_id
    clone.let_go()
    done = lmsctl(*words(f"{PROVISION} --offline-token --unverified-tpm --new-platform"), config=config)
    assert (done.exit_code, done.json["changed"], done.json["state"]) == (0, True, "created")
    assert done.json["platform"] != str(before)


def test_a_key_that_outlived_its_disk_is_adopted_when_it_is_said(machines, archived_machine, words):
    orphan = machines(tpm_of=archived_machine)
    config = orphan.write_config()
    orphan.let_go()
    order = words(f"{PROVISION} --unverified-tpm")
    assert_told(lmsctl(*order, config=config), "HandleOccupied", 4, "lives at", "--adopt")
    done = lmsctl(*order, "--adopt", config=config)
    assert (done.exit_code, done.json["changed"], done.json["birth-evidence"]) == (0, True, False)
    theirs = words("provision --owner @their-owner --fingerprint #stranger --owner-auth @auth --unverified-tpm --adopt")
    (orphan.state_directory / "state.json").unlink()
    assert_told(lmsctl(*theirs, config=config), "NotAdoptable", 7, "this owner", "handle")


@pytest.fixture(scope="module")
def makers(tmp_path_factory):
    """Two TPMs with EK certificates, switched off, each by its own maker."""
    made = []
    for name in ("one", "other"):
        directory = tmp_path_factory.mktemp(name)
        maker = Platform(directory)
        made.append((directory, maker.machine.manufacture(directory / "ca")))
        maker.machine.remove()
    return made


def test_a_tpm_of_an_unknown_maker(machines, makers, words):
    (directory, ca), (_, other) = makers
    platform = machines(tpm_of=directory)
    platform.let_go()
    order = words(PROVISION)

    def config(*roots) -> Path:
        return platform.write_config(ek_roots="[" + ", ".join(f'"{root}"' for root in roots) + "]")

    assert_told(lmsctl(*order, config=config()), "EkUntrusted", 7, "no roots", "ek_roots")
    foreign = lmsctl(*order, config=config(other.root, other.issuer))
    assert_told(foreign, "EkUntrusted", 7, "no trusted root", "ek_roots")
    assert platform.store.load() is None
    assert lmsctl(*order, config=config(ca.root, ca.issuer)).exit_code == 0


@pytest.fixture
def office():
    """An owner who lives now, as the programs do."""
    return Office(now=utc_now())


@pytest.fixture
def address():
    """Where an authority may listen."""
    with kept_port() as port:
        yield f"127.0.0.1:{port}"


@pytest.fixture
def chip(tmp_path):
    """The authority's TPM."""
    machine = SoftwareTpm(tmp_path / "chip").start()
    yield machine
    machine.remove()


@pytest.fixture(params=Mode, ids=[mode.value for mode in Mode])
def place(tmp_path, office, address, chip, request):
    """An authority that its owner granted."""
    place = Place(tmp_path / "ma")
    place.configure(chip.tcti if request.param is Mode.TPM else None, listen=f'"{address}"')
    made = place.run("init", "--address", f"https://{address}", "--output", place.request, "--unverified-tpm")
    assert made.json["mode"] == request.param.value
    asked = place.request.read_bytes()
    grant = tmp_path / "grant"
    grant.write_bytes(office.grant(asked, read_authority_enrolment(asked).request_id))
    assert place.enroll(grant, office.token).exit_code == 0
    return place


def listed(office, number: int, **changes) -> bytes:
    """A later trust list of the owner's."""
    known = read_trust_list(office.trust_list, office.world.owner)
    return sign(TRUST_LIST.write(replace(known, number=number, **changes)), office.world.signer)


def keep_list(place, document: bytes) -> None:
    """Give an authority a trust list, as a station would."""
    vault = open_vault(f"sqlite:///{place.store}")
    with vault.transaction() as transaction:
        (kept,) = transaction.owners()
        transaction.keep_owner(replace(kept, trust_list=document))
    vault.close()


def test_a_machine_that_the_authority_does_not_know(machines, office, place, tmp_path):
    machine = machines()
    machine.now = utc_now()
    machine.provision(office.token, offline_token=False)
    approve_platform(machine, office)
    enroll_authority(machine.setting, None, OWNER_AUTH)
    config = machine.write_config()
    machine.let_go()
    keep_list(place, listed(office, 8, platforms=()))
    served = Program(tmp_path, place.config)
    served.port()
    told = ("NotAuthorised", 5, "no approval for this TPM", "enroll")
    assert_told(lmsctl("archive", config=config), *told)
    (tmp_path / "list").write_bytes(listed(office, 9))  # the owner's list names it again
    assert lmsctl("enroll", "msa", "--grant", tmp_path / "list", config=config).exit_code == 0
    assert lmsctl("archive", config=config).exit_code == 0
    code, _, log = served.ended(signal.SIGTERM)
    assert code == 0, log
