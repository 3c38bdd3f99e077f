"""An unpatched systemd of Debian 13 opens what we enrolled, with PCRs and PIN, and on the next TPM.

`systemd-cryptenroll --unlock-tpm2-device=` opens a volume by its token with the functions of systemd-cryptsetup, and
needs no device mapper. It runs in a root directory of Debian 13 below `build/`, made once.
"""

from __future__ import annotations

import pytest

from lms.apps.luks.enrolling import enroll
from lms.apps.luks.token import Binding
from lms.model.keys import Algorithm
from lms.model.secret import Secret
from tests.service.test_sealing import extend
from tests.support.trixie import TCTI, VOLUME, make_root, typed
from tests.support.volumes import Acting, metadata, person

pytestmark = pytest.mark.slow
PIN = Secret(b"a PIN of nine words")


@pytest.fixture
def unlock():
    """Adds a recovery key with what the token of a volume opens: systemd's exit code, and what it said."""

    def run(platform, volume, pin: Secret | None = None) -> tuple[int, str]:
        words = f"systemd-cryptenroll --unlock-tpm2-device={TCTI} --recovery-key {VOLUME}"
        done = typed(platform, volume, words, **({} if pin is None else {"PIN": pin.reveal().decode()}))
        return done.returncode, done.stderr

    make_root()
    return run


@pytest.mark.parametrize("binding", [Binding(), Binding((7, 11)), Binding((), True), Binding((4, 7), True)], ids=str)
def test_systemd_opens_a_volume_by_our_token(acts, archived, volume, tmp_path, unlock, binding):
    extend(archived, 7)
    enroll(acts, volume, tmp_path / "apps", person, binding, PIN)
    code, said = unlock(archived, volume, PIN if binding.pin else None)
    assert code == 0, said
    assert len(metadata(volume)["keyslots"]) == 3
    if binding.pcrs:
        extend(archived, 7)
        assert unlock(archived, volume, PIN if binding.pin else None)[0] != 0
        assert len(metadata(volume)["keyslots"]) == 3


def test_systemd_opens_a_volume_below_an_rsa_key(platform, volume, tmp_path, unlock, token):
    platform.provision(token, algorithm=Algorithm.RSA_2048)
    enroll(Acting(platform), volume, tmp_path / "apps", person, Binding((7,), True), PIN)
    (found,) = metadata(volume)["tokens"].values()
    assert found["tpm2-primary-alg"] == "rsa"
    code, said = unlock(platform, volume, PIN)
    assert code == 0, said


def test_systemd_opens_it_on_the_next_tpm_and_not_before_the_key_is_back(
    acts, archived, volume, tmp_path, unlock, machines, token
):
    enroll(acts, volume, tmp_path / "apps", person, Binding(), PIN)
    archived.archive()
    new = machines(disk_of=archived.directory)
    assert unlock(new, volume)[0] != 0
    new.restore(token, archived.packages[-1].read_bytes())
    code, said = unlock(new, volume)
    assert code == 0, said
    assert len(metadata(volume)["keyslots"]) == 3
