"""What is registered: it survives a new TPM, goes back to its owner only, and spoils no archive."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lms.errors import (
    AuthFailed,
    BadRequest,
    BlobRefused,
    CiphertextLost,
    ContentMismatch,
    ForeignKey,
    KeyNotFound,
    NotMigratable,
    NotRegistered,
    OwnerAuthFailed,
    PolicyRefused,
    RegistryFull,
    StillNeeded,
)
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, Algorithm, Name
from lms.model.packages import ItemUsage
from lms.model.platform import Health
from lms.model.registered import OURS, ROOT, USER_KEY, Caller, Place, Quota, RegisteredItem
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.ports import Step
from lms.service.register import Where, listed, register_item, register_key, unregister
from lms.service.retrieve import retrieve
from lms.service.seal import seal
from lms.service.setting import NO_SECRET, provisioned
from lms.wire.content import MAX_CONTENT
from lms.wire.package_v1 import read_package
from lms.wire.tpm.public import Attributes, name_of, sealed_template, user_key_template
from tests.support.platform import OWNER_AUTH, PRECIOUS

ANNA = Caller(1000, "anna")
BERT = Caller(1001, "bert")
ANNAS_PASSWORD = Secret(b"annas password")
BERTS_PASSWORD = Secret(b"berts password")
DISK = Where("luks", "disk")
MAIL = Where("mail", "account")
VALUE = Secret(b"the passphrase of a volume")
_SEALED = sealed_template(Attributes.NO_DA | Attributes.USER_WITH_AUTH)


def register(platform, where=DISK, value=VALUE, caller=ROOT, password=NO_SECRET, usage=ItemUsage.PASSWORD):
    """Register an item."""
    return register_item(platform.setting, caller, where, usage, value, password)


def fetch(platform, where=DISK, caller=ROOT, owner_auth=OWNER_AUTH, password=NO_SECRET):
    """Retrieve an entry."""
    return retrieve(platform.setting, caller, where, owner_auth, password)


def moved(platform, new, token):
    """Archive, and restore on a new machine."""
    platform.archive()
    package = platform.packages[-1].read_bytes()
    drsk = platform.state.require_drsk().name
    new.restore(token, package, confirmed_key=drsk.digits)
    return new


@pytest.fixture
def archived(archived):
    """The archived machine, whose TPM is talked to in confidence from the beginning."""
    provisioned(archived.setting)
    return archived


@pytest.fixture
def full(archived):
    """A machine where root, Anna and Bert registered something."""
    register(archived)
    register(archived, Where("app", "data"), Secret(bytes(range(256)) * 8), usage=ItemUsage.DATA)
    register(archived, MAIL, Secret(b"annas mail"), ANNA, ANNAS_PASSWORD)
    register(archived, MAIL, Secret(b"berts mail"), BERT, BERTS_PASSWORD)
    return archived


def assert_all_come_back(platform) -> None:
    """Each to its owner."""
    assert fetch(platform) == {"password": VALUE}
    assert fetch(platform, Where("app", "data")) == {"data": Secret(bytes(range(256)) * 8)}
    assert fetch(platform, MAIL, ANNA, NO_SECRET, ANNAS_PASSWORD) == {"password": Secret(b"annas mail")}
    assert fetch(platform, MAIL, BERT, NO_SECRET, BERTS_PASSWORD) == {"password": Secret(b"berts mail")}


def test_items_come_back_on_the_same_tpm(full):
    assert_all_come_back(full)


def test_items_come_back_on_a_new_tpm_without_state(full, machines, token):
    new = moved(full, machines(), token)
    assert new.state.registry == full.state.registry
    assert_all_come_back(new)
    assert new.state.health is Health.AT_RISK
    third = moved(new, machines(), token)
    assert_all_come_back(third)


def test_items_come_back_on_a_new_tpm_below_the_old_disk(full, machines, token, package):
    """The newest package is from before anything was registered; the state of the machine knows more."""
    registry = full.state.registry
    full.let_go()
    full.machine.stop()
    new = machines(disk_of=full.directory)
    new.restore(token, package)
    assert new.state.registry == registry
    assert_all_come_back(new)
    (content,) = [read_package(new.packages[-1].read_bytes()).content]
    assert len(content.content_keys) == 4


def test_a_package_newer_than_an_old_disk_image_brings_what_the_image_lacks(full, machines, archived_machine, token):
    full.archive()
    newest = full.packages[-1].read_bytes()
    image = machines(disk_of=archived_machine)
    assert image.state.registry.entries == ()
    image.restore(token, newest)
    assert image.state.registry == full.state.registry
    assert_all_come_back(image)


def test_what_only_an_old_disk_image_knows_is_kept(archived, machines, token):
    image = Where("image", "only")
    register(archived, image, Secret(b"never archived"))
    archived.let_go()
    archived.machine.stop()
    old = machines(disk_of=archived.directory)
    archived.machine.start()
    unregister(archived.setting, ROOT, image)
    register(archived)
    archived.archive()
    old.restore(token, archived.packages[-1].read_bytes())
    assert {e.place.label for e in old.state.registry.entries} == {"only", "disk"}
    assert fetch(old, image) == {"password": Secret(b"never archived")}


def test_registering_makes_the_platform_stale_until_it_is_archived(archived):
    assert archived.state.health is Health.AT_RISK
    register(archived)
    assert archived.state.health is Health.STALE
    archived.archive()
    assert archived.state.health is Health.AT_RISK
    assert unregister(archived.setting, ROOT, DISK)
    assert archived.state.health is Health.STALE
    archived.archive()
    assert not unregister(archived.setting, ROOT, DISK)
    assert archived.state.health is Health.AT_RISK


def test_a_system_item_takes_the_owner_authorisation(full):
    for wrong in (NO_SECRET, Secret(b"another")):
        with pytest.raises(OwnerAuthFailed):
            fetch(full, owner_auth=wrong)
    assert fetch(full) == {"password": VALUE}


def test_a_users_item_takes_that_users_password(full):
    for wrong in (NO_SECRET, BERTS_PASSWORD, OWNER_AUTH):
        with pytest.raises(AuthFailed):
            fetch(full, MAIL, ANNA, OWNER_AUTH, wrong)
        with pytest.raises(AuthFailed if wrong else BadRequest):
            register(full, Where("mail", "another"), VALUE, ANNA, wrong)
    with pytest.raises(AuthFailed):
        fetch(full, Where("mail", "account", "1000:anna"), ROOT, OWNER_AUTH, OWNER_AUTH)
    assert fetch(full, Where("mail", "account", "1000:anna"), ROOT, NO_SECRET, ANNAS_PASSWORD)


def test_a_content_key_of_a_user_does_not_open_without_the_users_storage_key(full):
    """Past our own checks: the TPM itself asks for the password."""
    item = full.state.registry.at(Place("1000:anna", "mail", "account"))
    key = full.state.registry.user_key("1000:anna")
    assert full.tpm.unseal(DRSK_HANDLE, item.content_key, auth=NO_SECRET, path=(Step(key.key, ANNAS_PASSWORD),))
    for wrong in (NO_SECRET, BERTS_PASSWORD):
        with pytest.raises(AuthFailed):
            full.tpm.unseal(DRSK_HANDLE, item.content_key, auth=NO_SECRET, path=(Step(key.key, wrong),))
    with pytest.raises(BlobRefused):
        full.tpm.unseal(DRSK_HANDLE, item.content_key, auth=NO_SECRET)


def test_a_content_key_of_the_system_has_no_other_way_than_the_owner(full):
    item = full.state.registry.at(Place("system", "luks", "disk"))
    with pytest.raises((AuthFailed, PolicyRefused)):
        full.tpm.unseal(DRSK_HANDLE, item.content_key, auth=NO_SECRET)
    assert full.tpm.unseal_as_owner(DRSK_HANDLE, item.content_key, OWNER_AUTH)


def test_another_users_entry_looks_like_an_absent_one(full):
    absent = Where("mail", "nothing")
    for where in (MAIL, absent, Where("mail", "account", "1000:anna"), DISK, Where("luks", "disk", "system")):
        stranger = Caller(1002, "carl")
        with pytest.raises(NotRegistered) as refused:
            fetch(full, where, stranger, OWNER_AUTH, ANNAS_PASSWORD)
        assert str(refused.value) == f"cannot find '{where.label}' of '{where.application}'"
    assert not unregister(full.setting, BERT, Where("mail", "account", "1000:anna"))
    assert_all_come_back(full)


def test_a_listing_shows_a_user_its_own_entries_and_root_all(full):
    assert {e.place.owner for e in listed(full.state, ANNA)} == {"1000:anna"}
    assert listed(full.state, Caller(1002, "carl")) == ()
    assert {e.place.owner for e in listed(full.state, ROOT)} == {"system", "1000:anna", "1001:bert"}


def test_a_renamed_user_keeps_its_entries(full):
    assert fetch(full, MAIL, Caller(1000, "anne"), NO_SECRET, ANNAS_PASSWORD)
    assert unregister(full.setting, Caller(1000, "anne"), MAIL)


def test_a_user_registers_under_its_own_name_only(archived):
    for owner in ("1000:other", "1001:bert", "system"):
        with pytest.raises((BadRequest, NotRegistered)):
            register(archived, replace(MAIL, owner=owner), VALUE, ANNA, ANNAS_PASSWORD)
    register(archived, replace(MAIL, owner="1000:anna"), VALUE, ROOT, ANNAS_PASSWORD)
    assert fetch(archived, MAIL, ANNA, NO_SECRET, ANNAS_PASSWORD) == {"password": VALUE}


def test_an_item_put_in_the_place_of_another_is_refused(full):
    """Somebody who writes to the state, and knows nothing, would have root use another value."""
    state = full.state
    disk, data = state.registry.items[0], state.registry.items[1]
    exchanged = replace(data, place=disk.place, usage=disk.usage)
    full.store.save(replace(state, registry=state.registry.without(data.place).with_entry(exchanged)))
    with pytest.raises(ContentMismatch):
        fetch(full)
    full.store.save(state)
    assert fetch(full) == {"password": VALUE}


def test_a_ciphertext_altered_or_lost_is_named(full):
    (digest,) = [i.digest for i in full.state.registry.items if i.place.label == "disk"]
    file = full.state_directory / "items" / digest.hex()
    good = file.read_bytes()
    file.write_bytes(good[:-1] + b"?")
    with pytest.raises(CiphertextLost):
        fetch(full)
    file.unlink()
    for act in (lambda: fetch(full), full.archive):
        with pytest.raises(CiphertextLost):
            act()
    file.write_bytes(good)
    assert fetch(full) == {"password": VALUE}
    full.archive()


def test_another_value_replaces_the_first(archived):
    first = register(archived)
    second = register(archived, value=Secret(b"another"), usage=ItemUsage.DATA)
    assert fetch(archived) == {"data": Secret(b"another")}
    assert archived.state.registry.items == (second,)
    files = {f.name for f in (archived.state_directory / "items").iterdir()}
    assert files == {second.digest.hex()} != {first.digest.hex()}


def test_what_is_on_the_disk_tells_nothing_of_a_value(archived, tmp_path):
    """Neither the value nor a digest of it, which would tell weak passwords; equal values look different."""
    one = register(archived)
    two = register(archived)
    assert one.digest != two.digest
    assert one.content_key != two.content_key
    archived.archive()
    for file in (*archived.directory.rglob("*.xml"), *archived.state_directory.rglob("*")):
        if file.is_file():
            assert VALUE.reveal() not in file.read_bytes()


@pytest.mark.parametrize("words", [("", "x\ny"), ("a\0", "x"), ("a" * 256, "x"), ("a", "x" * 256), ("a\ud800", "x")])
def test_words_that_a_package_cannot_carry_are_refused(archived, words):
    with pytest.raises(BadRequest):
        register(archived, Where(*words))
    register(archived, Where("ä <&>\"'", "x" * 255))
    archived.archive()


def test_the_services_own_application_is_not_for_callers(archived):
    for where in (Where(OURS, USER_KEY), Where(OURS, "probe", "system")):
        with pytest.raises(BadRequest):
            register(archived, where)


def test_a_user_has_a_quota_by_uid(archived, monkeypatch):
    monkeypatch.setattr("lms.model.registered.USER_QUOTA", Quota(3, 8 * 1024 * 1024))
    register(archived, Where("a", "1"), VALUE, ANNA, ANNAS_PASSWORD)
    register(archived, Where("a", "2"), VALUE, ANNA, ANNAS_PASSWORD)
    with pytest.raises(RegistryFull):
        register(archived, Where("a", "3"), VALUE, ANNA, ANNAS_PASSWORD)
    register(archived, Where("a", "2"), Secret(b"replaced"), ANNA, ANNAS_PASSWORD)
    with pytest.raises(RegistryFull):
        register(archived, Where("a", "3"), VALUE, Caller(1000, "anne"), ANNAS_PASSWORD)
    register(archived, Where("a", "3"), VALUE, BERT, BERTS_PASSWORD)


def test_a_user_has_a_quota_of_bytes(archived):
    with pytest.raises(RegistryFull):
        register(archived, MAIL, Secret(bytes(2 * 1024 * 1024)), ANNA, ANNAS_PASSWORD, ItemUsage.DATA)
    assert not list((archived.state_directory / "items").glob("*"))
    register(archived, MAIL, Secret(bytes(1024 * 1024)), ANNA, ANNAS_PASSWORD, ItemUsage.DATA)


@pytest.mark.slow
def test_the_largest_item_fits_into_a_package_and_a_second_is_refused_in_time(archived, machines, token):
    largest = Secret(bytes(MAX_CONTENT))
    with pytest.raises(BadRequest):
        register(archived, DISK, Secret(bytes(MAX_CONTENT + 1)), usage=ItemUsage.DATA)
    register(archived, DISK, largest, usage=ItemUsage.DATA)
    with pytest.raises(RegistryFull):
        register(archived, Where("app", "second"), Secret(bytes(4 * 1024 * 1024)), usage=ItemUsage.DATA)
    new = moved(archived, machines(), token)
    assert fetch(new) == {"data": largest}


def test_a_leftover_of_a_crash_is_removed_and_what_is_named_stays(full):
    """Killed between the ciphertext and the state that names it."""
    leftover = full.store.keep_ciphertext(b"nobody names this")
    folder = full.state_directory / "items"
    assert (folder / leftover.hex()).exists()
    full.store.sweep()
    assert {f.name for f in folder.iterdir()} == {d.hex() for d in full.state.registry.digests}
    assert_all_come_back(full)


def test_nothing_is_entrusted_to_a_foreign_key_at_the_handle(full):
    """Its maker would read content keys, and the password of a user who registers for the first time."""
    before, carl, child = full.state.registry, Caller(1002, "carl"), full.seal()
    acts = (
        lambda: register(full, Where("app", "new")),
        lambda: register(full, MAIL, VALUE, carl, Secret(b"carls password")),
        lambda: seal(full.setting, ROOT, Where("app", "new"), VALUE, NO_SECRET),
        lambda: register_key(full.setting, ROOT, Where("app", "new"), child, None, NO_SECRET),
        lambda: fetch(full),
    )
    full.evict()
    for act in acts:
        with pytest.raises(KeyNotFound):
            act()
    full.place_foreign_key()
    for act in acts:
        with pytest.raises(ForeignKey):
            act()
    assert full.state.registry == before


def test_items_of_a_tpm_without_owner_authorisation(machines, token):
    platform = machines()
    platform.provision(token, NO_SECRET)
    register(platform)
    assert fetch(platform, owner_auth=NO_SECRET) == {"password": VALUE}


def test_items_below_an_rsa_key(machines, token):
    platform = machines()
    platform.provision(token, algorithm=Algorithm.RSA_2048)
    register(platform, MAIL, VALUE, ANNA, ANNAS_PASSWORD)
    assert fetch(platform, MAIL, ANNA, NO_SECRET, ANNAS_PASSWORD) == {"password": VALUE}


def test_wrong_passwords_do_not_lock_the_tpm(full):
    for _ in range(40):
        with pytest.raises(AuthFailed):
            fetch(full, MAIL, ANNA, NO_SECRET, BERTS_PASSWORD)
    assert_all_come_back(full)


# Keys


def test_a_registered_key_comes_back_unchanged(archived, machines, token):
    child = archived.seal()
    entry, changed = register_key(archived.setting, ROOT, DISK, child, None, NO_SECRET)
    assert changed
    assert (entry, False) == register_key(archived.setting, ROOT, DISK, child, None, NO_SECRET)
    new = moved(archived, machines(), token)
    got = fetch(new, owner_auth=NO_SECRET)
    again = SealedObject(got["public"].reveal(), got["private"].reveal())
    assert again == child
    assert new.unseal(again) == PRECIOUS


def _with(key, at, byte=1):
    changed = bytearray(key)
    changed[at] ^= byte
    return bytes(changed)


def test_a_key_that_does_not_load_below_its_parent_is_refused(archived):
    child = archived.seal()
    elsewhere = archived.tpm.create(SRK_HANDLE, _SEALED, auth=NO_SECRET, data=PRECIOUS)
    for bad in (
        SealedObject(child.public, _with(child.private, -1)),
        SealedObject(_with(child.public, -1), child.private),
        SealedObject(child.public, elsewhere.private),
        elsewhere,
    ):
        with pytest.raises(BlobRefused):
            register_key(archived.setting, ROOT, DISK, bad, None, NO_SECRET)
    with pytest.raises(BadRequest):
        register_key(archived.setting, ROOT, DISK, SealedObject(child.public, bytes(5000)), None, NO_SECRET)
    with pytest.raises(NotRegistered):
        register_key(archived.setting, ROOT, DISK, child, Name(b"\0\x0b" + bytes(32)), NO_SECRET)
    assert archived.state.registry.entries == ()
    register_key(archived.setting, ROOT, DISK, child, None, NO_SECRET)


def test_a_key_fixed_to_its_tpm_is_refused(archived):
    fixed = sealed_template(
        Attributes.NO_DA | Attributes.USER_WITH_AUTH | Attributes.FIXED_TPM | Attributes.FIXED_PARENT
    )
    key = archived.tpm.create(SRK_HANDLE, fixed, auth=NO_SECRET, data=PRECIOUS)
    with pytest.raises(NotMigratable):
        register_key(archived.setting, ROOT, DISK, key, None, NO_SECRET)


def test_a_key_below_a_users_storage_key_comes_back(full, machines, token):
    state = full.state
    above = state.registry.user_key("1000:anna")
    path = (Step(above.key, ANNAS_PASSWORD),)
    child = full.tpm.create(DRSK_HANDLE, _SEALED, auth=NO_SECRET, data=PRECIOUS, path=path)
    vpn = Where("vpn", "key")
    with pytest.raises(AuthFailed):
        register_key(full.setting, ANNA, vpn, child, above.name, BERTS_PASSWORD)
    with pytest.raises(NotRegistered):
        register_key(full.setting, BERT, vpn, child, above.name, ANNAS_PASSWORD)
    with pytest.raises(BlobRefused):
        register_key(full.setting, ANNA, vpn, child, None, ANNAS_PASSWORD)
    register_key(full.setting, ANNA, vpn, child, above.name, ANNAS_PASSWORD)
    new = moved(full, machines(), token)
    assert_all_come_back(new)
    above = new.state.registry.user_key("1000:anna")
    assert new.tpm.unseal(DRSK_HANDLE, child, auth=NO_SECRET, path=(Step(above.key, ANNAS_PASSWORD),)) == PRECIOUS


def test_a_chain_of_storage_keys_of_any_depth_loads_on_a_bare_tpm(archived, machines, token):
    """A TPM without resource manager has three slots."""
    template, parent, path = user_key_template(archived.state.algorithm), None, ()
    for depth in range(4):
        made = archived.tpm.create(DRSK_HANDLE, template, auth=NO_SECRET, data=NO_SECRET, path=path)
        register_key(archived.setting, ROOT, Where("chain", str(depth)), made, parent, NO_SECRET)
        parent, path = name_of(made.public), (*path, Step(made, NO_SECRET))
    child = archived.tpm.create(DRSK_HANDLE, _SEALED, auth=NO_SECRET, data=PRECIOUS, path=path)
    register_key(archived.setting, ROOT, Where("chain", "end"), child, parent, NO_SECRET)
    with pytest.raises(StillNeeded):
        unregister(archived.setting, ROOT, Where("chain", "2"))
    with pytest.raises(StillNeeded):
        register(archived, Where("chain", "2"))
    with pytest.raises(BadRequest):
        register_key(archived.setting, ROOT, Where("chain", "x"), child, name_of(child.public), NO_SECRET)
    new = moved(archived, machines(), token)
    assert new.tpm.unseal(DRSK_HANDLE, child, auth=NO_SECRET, path=path) == PRECIOUS
    assert unregister(new.setting, ROOT, Where("chain", "end"))
    assert unregister(new.setting, ROOT, Where("chain", "3"))


def test_a_user_who_lost_the_password_starts_anew(full):
    ours = Where(OURS, USER_KEY)
    with pytest.raises(StillNeeded):
        unregister(full.setting, ANNA, ours)
    assert unregister(full.setting, ANNA, MAIL)
    assert unregister(full.setting, ANNA, ours)
    register(full, MAIL, VALUE, ANNA, Secret(b"a new password"))
    assert fetch(full, MAIL, ANNA, NO_SECRET, Secret(b"a new password")) == {"password": VALUE}


def test_what_was_sealed_comes_back_under_its_own_authorisation(archived, machines, token):
    auth = Secret(b"own authorisation")
    entry = seal(archived.setting, ANNA, MAIL, VALUE, auth)
    assert entry.place.owner == "1000:anna"
    with pytest.raises(AuthFailed):
        archived.tpm.unseal(DRSK_HANDLE, entry.key, auth=NO_SECRET)
    new = moved(archived, machines(), token)
    assert new.tpm.unseal(DRSK_HANDLE, entry.key, auth=auth) == VALUE
    got = fetch(new, MAIL, ANNA, NO_SECRET)
    assert got["private"] == Secret(entry.key.private)
    for size in (0, 129):
        with pytest.raises(BadRequest):
            seal(archived.setting, ROOT, DISK, Secret(bytes(size)), NO_SECRET)
    seal(archived.setting, ROOT, DISK, Secret(bytes(128)), NO_SECRET)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4096), st.sampled_from(ItemUsage))
def test_every_value_comes_back_byte_by_byte(archived, value, usage):
    register(archived, DISK, Secret(value), usage=usage)
    assert fetch(archived) == {usage.value: Secret(value)}


def test_an_item_that_no_password_of_its_user_protects_is_not_opened(provisioned):
    """As somebody else may put it into a package: below the key of all."""
    register(provisioned, MAIL, caller=ANNA, password=ANNAS_PASSWORD)
    state = provisioned.state
    item = next(entry for entry in state.registry.entries if isinstance(entry, RegisteredItem))
    stray = state.registry.with_entry(replace(item, parent=state.require_drsk().name))
    provisioned.store.save(replace(state, registry=stray))
    with pytest.raises(NotRegistered):
        fetch(provisioned, MAIL, caller=ANNA, password=ANNAS_PASSWORD)
    provisioned.store.save(state)
    assert fetch(provisioned, MAIL, caller=ANNA, password=ANNAS_PASSWORD)
