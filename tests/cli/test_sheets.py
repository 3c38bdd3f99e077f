"""`lmsctl` with a recovery sheet: what it tells a person, and what it is good for on a machine that knows nothing."""

from __future__ import annotations

from dataclasses import replace
from uuid import uuid4

import pytest

from lms.model.keys import digits
from lms.model.owner import RecoverySheet, SheetAuthority
from lms.model.secret import Secret
from lms.names import RECOVERY_PACKAGE, RECOVERY_SHEET
from lms.opener import open_token
from lms.wire.certificates import OwnerSigner
from lms.wire.package_v1 import read_package
from lms.wire.signature import sign
from lms.wire.token_v1 import write_sheet
from tests.support.documents import make_owner, uuid, vault
from tests.support.platform import OWNER_AUTH, lmsctl

# A port on which nobody listens: the discard service's.
NOWHERE = "https://127.0.0.1:9"


@pytest.fixture(scope="session")
def issuer(token):
    """The owner's CA, opened."""
    owner, keys = open_token(token.document, Secret(token.password))
    return OwnerSigner(keys.ca, owner.ca_certificate)


@pytest.fixture
def sheet(token, package) -> RecoverySheet:
    """The sheet of the archived machine."""
    (key,) = read_package(package).content.migrating_keys
    assert key.policy is not None
    authorities = tuple(SheetAuthority(uuid("ma"), address, vault().name) for address in (NOWHERE, f"{NOWHERE}9"))
    platform_id = read_package(package).content.header.source.platform_id
    return RecoverySheet(platform_id, token.owner.document, key.policy, authorities, key.public, 1)


@pytest.fixture
def files(tmp_path, token, stranger, package, sheet, issuer):
    """What a person has."""
    contents = {
        "token": token.document,
        "password": token.password,
        "their-token": stranger.document,
        "their-password": stranger.password,
        "package": package,
        "auth": OWNER_AUTH.reveal(),
        "sheet": sign(write_sheet(sheet), issuer),
        "forged-sheet": sign(write_sheet(sheet), make_owner("stranger").signer),
        "other-sheet": sign(write_sheet(replace(sheet, platform_id=uuid4())), issuer),
        "newer-sheet": sign(write_sheet(replace(sheet, sequence=2)), issuer),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return {name: tmp_path / name for name in contents}


@pytest.fixture
def restore(files):
    """Runs `lmsctl restore` on a machine."""

    def run(config, *more):
        return lmsctl("restore", "--unverified-tpm", "--owner-auth", files["auth"], *more, config=config)

    return run


def by_token(files, whose="") -> tuple[object, ...]:
    return ("--token", files[f"{whose}token"], "--token-password", files[f"{whose}password"])


def test_a_sheet_tells_a_person_all_of_it(files, token, sheet, package):
    shown = lmsctl("inspect", files["sheet"]).json
    assert (shown["platform"], shown["sequence"]) == (str(sheet.platform_id), 1)
    assert shown["owner"] == token.fingerprint
    assert shown["key"] == read_package(package).content.migrating_keys[0].key_id.digits
    assert [a["address"] for a in shown["authorities"]] == [NOWHERE, f"{NOWHERE}9"]
    assert shown["authorities"][0]["vault"] == vault().name.digits
    assert (shown["one-party"], shown["signer"], shown["verified"]) == ("token", "the owner's CA", False)


def test_with_sheet_and_token_no_digits_are_asked_for(platform, restore, files, token, child):
    config = platform.write_config()
    platform.let_go()
    order = (*by_token(files), "--package", files["package"])
    assert restore(config, *order).json["error"] == "UnconfirmedPackage"
    done = restore(config, *order, "--sheet", files["sheet"])
    assert (done.exit_code, done.json["changed"], done.json["age-known"]) == (0, True, False)
    assert platform.unseal(child)


@pytest.mark.parametrize(
    ("given", "error"),
    [("forged-sheet", "UntrustedSigner"), ("other-sheet", "WrongRole"), ("newer-sheet", "PackageStale")],
)
def test_a_sheet_that_does_not_fit_restores_nothing(platform, restore, files, given, error):
    config = platform.write_config()
    platform.let_go()
    order = (*by_token(files), "--package", files["package"])
    assert restore(config, *order, "--sheet", files[given]).json["error"] == error
    assert platform.key_at() is None
    platform.let_go()
    assert restore(config, *order, "--sheet", files["sheet"]).exit_code == 0


def test_another_owners_token_does_not_vouch_for_a_sheet(platform, restore, files):
    config = platform.write_config()
    platform.let_go()
    refused = restore(config, *by_token(files, "their-"), "--sheet", files["sheet"])
    assert (refused.exit_code, refused.json["error"]) == (6, "OwnerMismatch")
    assert restore(config, *by_token(files), "--sheet", files["sheet"]).json["error"] == "AuthorityUnreachable"


def test_a_token_that_is_not_opened_vouches_for_nothing(platform, restore, files):
    config = platform.write_config()
    platform.let_go()
    order = ("--token", files["token"], "--sheet", files["sheet"])
    refused = restore(config, *order, "--token-password", files["their-password"])
    assert (refused.exit_code, refused.json["error"]) == (3, "WrongPassword")
    assert platform.store.load_pending() is None


@pytest.mark.parametrize("anchor", ["token", "fingerprint"])
def test_a_bare_machine_asks_every_address_of_its_sheet(platform, restore, files, token, anchor):
    config = platform.write_config()
    platform.let_go()
    order = by_token(files) if anchor == "token" else ("--fingerprint", token.fingerprint)
    refused = restore(config, *order, "--sheet", files["sheet"])
    assert (refused.exit_code, refused.json["error"]) == (5, "AuthorityUnreachable")
    assert f"{NOWHERE}9" in refused.json["message"]  # the last one that was tried
    pending = platform.store.load_pending()
    assert digits(pending.request_id)  # the request is made, and can be carried by hand


def test_a_sheet_by_a_stranger_is_refused_though_its_owner_was_confirmed(platform, restore, files, token):
    config = platform.write_config()
    platform.let_go()
    order = ("--fingerprint", token.fingerprint, "--sheet")
    refused = restore(config, *order, files["forged-sheet"])
    assert (refused.exit_code, refused.json["error"]) == (6, "UntrustedSigner")
    assert platform.store.load_pending() is None
    assert restore(config, *order, files["sheet"]).json["error"] == "AuthorityUnreachable"


def test_a_machine_that_knows_itself_takes_its_own_sheet_only(archived, restore, files, token):
    config = archived.write_config()
    archived.evict()
    archived.let_go()
    order = (*by_token(files), "--sheet")
    assert restore(config, *order, files["other-sheet"]).json["error"] == "SheetMismatch"
    assert restore(config, *order, files["sheet"]).exit_code == 0


def test_an_older_sheet_than_the_known_one_is_told(platform, restore, files, token, tmp_path):
    boot = tmp_path / "boot/lms"
    boot.mkdir(parents=True)
    config = platform.write_config(recovery_directory=f'"{boot}"')
    platform.let_go()
    order = ("--fingerprint", token.fingerprint, "--sheet")
    # One that a stranger laid there is no news.
    (boot / "lms-recovery.xml").write_bytes(files["forged-sheet"].read_bytes())
    assert restore(config, *order, files["sheet"]).json["error"] == "AuthorityUnreachable"
    (boot / "lms-recovery.xml").write_bytes(files["newer-sheet"].read_bytes())
    assert restore(config, *order, files["sheet"]).json["error"] == "SheetStale"
    assert restore(config, *order, files["newer-sheet"]).json["error"] == "AuthorityUnreachable"


@pytest.fixture
def boot(tmp_path, files):
    """/boot/lms of a machine whose root cannot be opened, as a rescue system sees it."""
    directory = tmp_path / "mnt" / "boot" / "lms"
    directory.mkdir(parents=True)
    (directory / RECOVERY_SHEET).write_bytes(files["sheet"].read_bytes())
    (directory / RECOVERY_PACKAGE).write_bytes(files["package"].read_bytes())
    return directory


def test_a_rescue_system_takes_sheet_and_package_from_the_directory(platform, restore, files, boot, child):
    config = platform.write_config()
    platform.let_go()
    done = restore(config, *by_token(files), "--sheet", boot)
    assert (done.exit_code, done.json["changed"]) == (0, True)
    assert platform.unseal(child)


def test_the_package_of_a_directory_is_for_the_token_and_gives_way_to_a_named_one(platform, restore, files, boot):
    config = platform.write_config()
    platform.let_go()
    (boot / RECOVERY_PACKAGE).write_bytes(b"no package")
    assert restore(config, *by_token(files), "--sheet", boot).json["error"] == "MalformedXml"
    by_fingerprint = restore(config, "--fingerprint", "AAAA-AAAA-AAAA-AAAA", "--sheet", boot)
    assert by_fingerprint.json["error"] == "FingerprintDiffers"
    assert restore(config, *by_token(files), "--package", files["package"], "--sheet", boot).exit_code == 0


def test_a_directory_without_a_sheet_needs_the_digits_or_says_that_it_has_none(platform, restore, files, boot):
    config = platform.write_config()
    platform.let_go()
    (boot / RECOVERY_SHEET).unlink()
    assert restore(config, *by_token(files), "--sheet", boot).json["error"] == "UnconfirmedPackage"
    (boot / RECOVERY_PACKAGE).unlink()
    refused = restore(config, *by_token(files), "--sheet", boot)
    assert (refused.json["error"], RECOVERY_SHEET in refused.json["message"]) == ("FileProblem", True)
