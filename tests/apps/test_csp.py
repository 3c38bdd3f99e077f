"""A key of an application works with an unpatched OpenSSL, on this TPM and the next one, and its files come back."""

from __future__ import annotations

import stat
from functools import partial

import pytest
from cryptography import x509

from lms.apps.csp.adding import Wanted, add
from lms.apps.csp.certificates import read_certificates
from lms.apps.csp.exporting import export
from lms.apps.csp.listing import listed
from lms.apps.csp.pkcs12 import read_pkcs12
from lms.errors import KeyNotFound, OwnerAuthFailed
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE, ApplicationAlgorithm
from lms.model.registered import Caller
from lms.model.secret import Secret
from lms.names import OWNER_AUTH
from lms.service.acts import ACTS, Call
from lms.wire.tpm.application import application_template
from lms.wire.tpm.key_file import read_tss2_pem, tss2_pem, tss2_private_key
from tests.support.containers import PASSWORD, Serving, certify, make_pkcs12, openssl, signs, verifies
from tests.support.platform import NO_SECRET
from tests.support.platform import OWNER_AUTH as AUTH

OWNER = {OWNER_AUTH: AUTH.reveal()}


class Bench:
    """The verbs on one machine, and a place for files."""

    def __init__(self, acts, directory, files) -> None:
        self.acts = acts
        self.key, self.crt = files / "web.pem", files / "web.pem.crt"
        self.add = partial(add, acts, self.key, directory)
        self.export = partial(export, acts, self.key)

    @property
    def rows(self):
        return listed(self.acts)

    @property
    def row(self):
        (row,) = self.rows
        return row


@pytest.fixture
def acts(archived):
    return Serving(archived)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def bench(acts, tmp_path, files):
    return Bench(acts, tmp_path / "apps", files)


def certified(platform, bench, files):
    """The certificate of the key, as it is given."""
    made = certify(platform, bench.key, files / "given.pem")
    return Wanted(certificates=read_certificates(made.read_bytes(), made))


def brought(files, **how) -> Wanted:
    """The key of a new PKCS#12 file."""
    file = make_pkcs12(files, **how)
    return Wanted(brought=read_pkcs12(file.read_bytes(), Secret(how.get("password", PASSWORD)), file))


@pytest.mark.parametrize("algorithm", ApplicationAlgorithm)
def test_openssl_signs_with_a_key_that_was_made(bench, archived, algorithm):
    row = bench.add(Wanted(algorithm))
    assert (row["algorithm"], row["changed"]) == (algorithm.value, True)
    assert stat.S_IMODE(bench.key.stat().st_mode) == 0o600
    before = bench.key.read_bytes()
    assert signs(archived, bench.key)
    assert bench.add(Wanted(algorithm)) == row | {"changed": False}
    assert not bench.add(Wanted())["changed"]
    assert bench.key.read_bytes() == before
    known = bench.row
    assert (known["file"], known["archived"], known["certificate-kept"]) == ("present", False, False)
    assert known["key"] == row["key"]


@pytest.mark.parametrize("algorithm", [None, "EC", "RSA"], ids=["made here", "EC, brought", "RSA, brought"])
def test_a_key_and_its_certificate_outlive_the_tpm(bench, archived, machines, token, files, tmp_path, algorithm):
    bench.add(Wanted() if algorithm is None else brought(files, algorithm=algorithm))
    given = certified(archived, bench, files)
    assert bench.add(given)["certificate"] == "CN=host.example"
    assert not bench.add(given)["changed"]
    assert stat.S_IMODE(bench.crt.stat().st_mode) == 0o644
    assert signs(archived, bench.key)
    archived.archive()
    assert bench.row["archived"] is True
    before = bench.key.read_bytes(), bench.crt.read_bytes()
    new = machines(disk_of=archived.directory)
    anew = Bench(Serving(new), tmp_path / "apps", files)
    assert (anew.row["file"], anew.row["archived"]) == ("present", None)
    with pytest.raises(KeyNotFound):
        anew.add(Wanted())
    assert not signs(new, bench.key)
    new.restore(token, archived.packages[-1].read_bytes())
    assert signs(new, bench.key)
    assert (bench.key.read_bytes(), bench.crt.read_bytes()) == before
    assert (anew.row["file"], anew.row["certificate"]) == ("present", "CN=host.example")


def test_what_the_registry_lost_is_registered_again(bench, archived, acts, files):
    """As by `unregister`, and where an older package came back."""
    bench.add(Wanted())
    given = certified(archived, bench, files)
    bench.add(given)
    assert not bench.add(given)["changed"]
    for label in (bench.crt, bench.key):
        acts("unregister", {"application": "csp", "label": str(label)})
        assert bench.add(Wanted())["changed"]
    assert bench.row["certificate-kept"]


@pytest.mark.parametrize("algorithm", ["EC", "RSA"])
def test_the_key_of_a_pkcs12_file_signs_from_the_tpm(bench, archived, files, algorithm):
    wanted = brought(files, algorithm=algorithm)
    row = bench.add(wanted)
    assert (row["changed"], row["certificate"]) == (True, "CN=brought.example")
    assert signs(archived, bench.key)
    assert verifies(files / "soft.public", files / "web.pem.data", files / "web.pem.signature")
    chain = x509.load_pem_x509_certificates(bench.crt.read_bytes())
    assert [one.subject.rfc4514_string() for one in chain] == ["CN=brought.example", "CN=issuer"]
    assert bench.add(wanted) == row | {"changed": False}
    assert bench.row["certificate-kept"]


def test_a_pkcs12_file_with_an_empty_password_opens_by_it(bench, files):
    assert bench.add(brought(files, password=b""))["changed"]


def test_a_key_that_another_program_made_is_taken_over(bench, archived):
    template = application_template(ApplicationAlgorithm.ECC_P256)
    key = archived.tpm.create(DRSK_HANDLE, template, auth=NO_SECRET, data=NO_SECRET)
    before = tss2_pem(tss2_private_key(key.public, key.private, DRSK_HANDLE)).replace(b"\n", b"\r\n")
    bench.key.write_bytes(before)
    assert bench.rows == []
    assert bench.add(Wanted())["changed"]
    assert (bench.key.read_bytes(), bench.row["file"]) == (before, "present")


def test_keys_of_users_are_their_own(bench, archived):
    call = Call(
        {"application": "csp", "label": str(bench.key), "algorithm": "ecc-p256"}, {}, caller=Caller(1000, "anna")
    )
    assert ACTS["register"](call, archived.setting)["owner"] == "1000:anna"
    assert bench.rows == []
    assert bench.add(Wanted())["changed"]
    assert len(archived.state.registry.keys) == 2


def test_lost_files_come_back(bench, archived, files):
    bench.add(Wanted())
    bench.add(certified(archived, bench, files))
    before = bench.key.read_bytes(), bench.crt.read_bytes()
    bench.key.unlink()
    bench.crt.unlink()
    assert (bench.row["file"], "certificate" in bench.row) == ("missing", False)
    with pytest.raises(OwnerAuthFailed):  # what it takes a person for comes last
        bench.export(None, {})
    assert bench.key.read_bytes() == before[0]
    row = bench.export(None, OWNER)
    assert (row["changed"], row["certificate"]) == (True, "CN=host.example")
    assert (bench.key.read_bytes(), bench.crt.read_bytes()) == before
    assert bench.export(None, {}) == row | {"changed": False}
    assert signs(archived, bench.key)
    elsewhere = bench.export(files / "other.pem", OWNER)
    assert (elsewhere["path"], (files / "other.pem.crt").read_bytes()) == (str(files / "other.pem"), before[1])


def test_a_renewed_certificate_takes_the_place_of_the_old_one(bench, archived, files):
    bench.add(Wanted())
    bench.add(certified(archived, bench, files))
    first = bench.crt.read_bytes()
    assert bench.add(certified(archived, bench, files))["changed"]
    assert bench.crt.read_bytes() != first
    second = bench.crt.read_bytes()
    certify(archived, bench.key, bench.crt)  # as a program that renews it writes it
    third = bench.crt.read_bytes()
    assert bench.add(Wanted())["changed"]
    assert not bench.add(Wanted())["changed"]
    bench.crt.unlink()
    bench.export(None, OWNER)
    assert bench.crt.read_bytes() == third != second


class Cut(Exception):
    """Nobody goes on."""


@pytest.mark.parametrize("number", range(4))
def test_cut_before_any_act_the_next_run_ends_as_an_uncut_one(bench, archived, tmp_path, files, number):
    wanted, acts = brought(files), Serving(archived)

    def cut(*words):
        if len(acts.verbs) == number:
            raise Cut
        return acts(*words)

    with pytest.raises(Cut):
        add(cut, bench.key, tmp_path / "apps", wanted)
    assert bench.add(wanted)["changed"]
    assert len(archived.state.registry.keys) == len(archived.state.registry.items) == 1
    (row,) = bench.rows
    assert (row["file"], row["certificate"], row["certificate-kept"]) == ("present", "CN=brought.example", True)
    assert not bench.add(wanted)["changed"]


def test_cut_behind_the_tpm_the_next_run_writes_the_file_of_the_same_key(bench, archived, tmp_path):
    def cut(verb, *words):
        answer = bench.acts(verb, *words)
        if verb == "register":
            raise Cut
        return answer

    with pytest.raises(Cut):
        add(cut, bench.key, tmp_path / "apps", Wanted())
    assert not bench.key.exists()
    (entry,) = archived.state.registry.keys
    assert bench.add(Wanted())["changed"]
    assert read_tss2_pem(bench.key.read_bytes()).key == entry.key
    assert archived.state.registry.keys == (entry,)
    assert signs(archived, bench.key)


def test_a_key_that_openssl_makes_itself_would_be_fixed_to_this_tpm(archived, files):
    words = ("genpkey", "-algorithm", "EC", "-pkeyopt", "group:P-256", "-out", files / "own.pem")
    openssl(*words, "-pkeyopt", f"parent:{SRK_HANDLE:#x}", tpm=archived)
    done = openssl(*words, "-pkeyopt", f"parent:{DRSK_HANDLE:#x}", tpm=archived, check=False)
    assert done.returncode != 0
    assert b"inconsistent attributes" in done.stderr
