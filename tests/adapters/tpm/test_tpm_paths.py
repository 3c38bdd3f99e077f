"""Keys below keys: each takes its own authorisation, on a TPM with three slots."""

from __future__ import annotations

import pytest

from lms.errors import AuthFailed, BadRequest, BlobRefused
from lms.model.keys import DRSK_HANDLE, SRK_HANDLE
from lms.model.secret import Secret
from lms.ports import Step
from lms.wire.tpm.public import name_of, user_key_template
from tests.adapters.tpm.bench import NOTHING, PROBE

AUTHS = (Secret(b"first"), NOTHING, Secret(b"third"), Secret(b"fourth"))
VALUE = Secret(b"what was sealed")


@pytest.fixture
def path(platform):
    """Four storage keys, each below the one before."""
    platform.make_drsk()
    steps: tuple[Step, ...] = ()
    for auth in AUTHS:
        template = user_key_template(platform.algorithm)
        made = platform.tpm.create(DRSK_HANDLE, template, auth=auth, data=NOTHING, path=steps)
        steps = (*steps, Step(made, auth))
    return steps


def test_what_is_sealed_at_the_end_of_a_path_is_unsealed_there(platform, path):
    sealed = platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=VALUE, path=path)
    for _ in range(5):  # nothing is left in a slot
        assert platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING, path=path) == VALUE
        assert platform.tpm.loaded_name(DRSK_HANDLE, sealed, None, path) == (name_of(sealed.public), NOTHING)
    guarded = platform.tpm.create(DRSK_HANDLE, PROBE, auth=AUTHS[0], data=VALUE, path=path)
    with pytest.raises(AuthFailed):
        platform.tpm.unseal(DRSK_HANDLE, guarded, auth=NOTHING, path=path)
    assert platform.tpm.unseal(DRSK_HANDLE, guarded, auth=AUTHS[0], path=path) == VALUE


@pytest.mark.parametrize("at", range(4))
def test_a_wrong_authorisation_anywhere_on_a_path_is_refused(platform, path, at):
    sealed = platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=VALUE, path=path)
    wrong = (*path[:at], Step(path[at].key, Secret(b"wrong")), *path[at + 1 :])
    for act in (
        lambda: platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING, path=wrong),
        lambda: platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=VALUE, path=wrong),
        lambda: platform.tpm.loaded_name(DRSK_HANDLE, sealed, None, wrong),
    ):
        with pytest.raises(AuthFailed):
            act()
    assert platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING, path=path) == VALUE


def test_another_path_is_refused(platform, path):
    sealed = platform.tpm.create(DRSK_HANDLE, PROBE, auth=NOTHING, data=VALUE, path=path)
    for handle, other in ((SRK_HANDLE, path), (DRSK_HANDLE, path[:-1]), (DRSK_HANDLE, path[1:]), (DRSK_HANDLE, ())):
        with pytest.raises(BlobRefused):
            platform.tpm.unseal(handle, sealed, auth=NOTHING, path=other)
    with pytest.raises(BadRequest):
        platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING, path=(Step(path[0].key, Secret(bytes(33))),))
    assert platform.tpm.unseal(DRSK_HANDLE, sealed, auth=NOTHING, path=path) == VALUE
