"""Storage keys and what is sealed below them: create, load, persist, sign, unseal (PROTOCOL §1, §4).

Parents have an empty authorisation; where a key is protected, it is by its own or by a policy.
"""

from __future__ import annotations

from typing import Any, Final

from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_SE
from tpm2_pytss.types import (
    TPM2B_AUTH,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPML_PCR_SELECTION,
    TPMS_SCHEME_HASH,
    TPMS_SENSITIVE_CREATE,
    TPMT_SIG_SCHEME,
    TPMU_SIG_SCHEME,
)

from lms.adapters.tpm import sessions
from lms.adapters.tpm.context import NOTHING, Context, read
from lms.adapters.tpm.responses import doing
from lms.errors import BadRequest, HandleOccupied, PcrsMissing
from lms.model.keys import Algorithm, Name
from lms.model.secret import Secret
from lms.model.tpm import SealedObject
from lms.ports import Step
from lms.wire.tpm.foreign import foreign_name
from lms.wire.tpm.public import srk_template

_SEALED_MAX: Final = 128
_AUTH_MAX: Final = 32
_RANDOM_MAX: Final = 32
_ECDSA_SHA256: Final = TPMT_SIG_SCHEME(
    scheme=TPM2_ALG.ECDSA, details=TPMU_SIG_SCHEME(ecdsa=TPMS_SCHEME_HASH(hashAlg=TPM2_ALG.SHA256))
)


def _occupied(handle: int, what: str) -> HandleOccupied:
    return HandleOccupied(f"cannot persist {what} at {handle:#x}: another key lives there")


def set_owner_auth(tpm: Context, old: Secret, new: Secret) -> None:
    """TPM2_HierarchyChangeAuth of the owner hierarchy."""
    if len(new) > _AUTH_MAX:
        raise BadRequest("cannot use an authorisation of more than 32 bytes")
    session = sessions.carrying(tpm, old, new)
    with tpm.authorised(ESYS_TR.OWNER, old), doing("change the owner authorisation"):
        tpm.esapi.hierarchy_change_auth(ESYS_TR.OWNER, new.reveal(), session1=session)


def _persist(tpm: Context, key: Any, handle: int, owner_auth: Secret, session: Any) -> None:
    with tpm.authorised(ESYS_TR.OWNER, owner_auth), doing(f"persist a key at {handle:#x}"):
        tpm.esapi.tr_close(tpm.esapi.evict_control(ESYS_TR.OWNER, key, handle, session1=session))


def ensure_srk(tpm: Context, handle: int, algorithm: Algorithm, owner_auth: Secret) -> bytes:
    """Derive the SRK and compare, or persist where the handle is free; TPM2B_PUBLIC."""
    template = srk_template(algorithm)
    session = sessions.carrying(tpm, owner_auth)
    with (
        tpm.authorised(ESYS_TR.OWNER, owner_auth),
        tpm.patience(template),
        doing("derive the storage root key"),
    ):
        key, *_ = tpm.esapi.create_primary(None, read(TPM2B_PUBLIC, template), ESYS_TR.OWNER, session1=session)
    with tpm.flushing(key):
        public, present = tpm.public(key), tpm.public_at(handle)
        if present is None:
            _persist(tpm, key, handle, owner_auth, session)
        elif present != public:
            raise _occupied(handle, "the storage root key")
    return public


def _sensitive(auth: Secret, data: Secret) -> Any:
    if len(data) > _SEALED_MAX or len(auth) > _AUTH_MAX:
        raise BadRequest("cannot seal more than 128 bytes, or with an authorisation of more than 32")
    return TPM2B_SENSITIVE_CREATE(
        TPMS_SENSITIVE_CREATE(userAuth=TPM2B_AUTH(auth.reveal()), data=TPM2B_SENSITIVE_DATA(data.reveal()))
    )


def new_key(
    tpm: Context, parent: Any, template: bytes, session: Any, *, auth: Secret = NOTHING, data: Secret = NOTHING
) -> tuple[SealedObject, Any, Any, Any]:
    """TPM2_Create: the key, and creation data, hash and ticket as tpm2_pytss has them."""
    area = read(TPM2B_PUBLIC, template)
    with tpm.patience(template), doing("create a key", sessions.OF_THE_OBJECT):
        private, public, *evidence = tpm.esapi.create(parent, _sensitive(auth, data), area, session1=session)
    creation_data, creation_hash, ticket = evidence
    key = SealedObject(bytes(public.marshal()), bytes(private.marshal()))
    return key, creation_data, creation_hash, ticket


def create(
    tpm: Context, parent: int, template: bytes, auth: Secret, data: Secret, path: tuple[Step, ...]
) -> SealedObject:
    """TPM2_Create below a persistent parent, or below the last key of a path."""
    secrets = (auth, data, *(step.auth for step in path))
    session = sessions.carrying(tpm, *secrets)
    with tpm.reached(parent, path, session) as above:
        return new_key(tpm, above, template, session, auth=auth, data=data)[0]


def persist(tpm: Context, parent: int, key: SealedObject, handle: int, owner_auth: Secret) -> None:
    """TPM2_Load and TPM2_EvictControl, unless it is there already."""
    present = tpm.public_at(handle)
    if present == key.public:
        return
    if present is not None:
        raise _occupied(handle, "the key")
    session = sessions.carrying(tpm, owner_auth)
    with tpm.persistent(parent) as above, tpm.loaded(above, key) as loaded:
        _persist(tpm, loaded, handle, owner_auth, session)


def evict(tpm: Context, handle: int, owner_auth: Secret) -> None:
    """TPM2_EvictControl of a persistent key, if there is one."""
    if tpm.public_at(handle) is None:
        return
    session = sessions.carrying(tpm, owner_auth)
    with (
        tpm.persistent(handle) as key,
        tpm.authorised(ESYS_TR.OWNER, owner_auth),
        doing(f"remove the key at {handle:#x}"),
    ):
        tpm.esapi.evict_control(ESYS_TR.OWNER, key, handle, session1=session)


def sign(tpm: Context, parent: int, key: SealedObject, auth: Secret, digest: bytes) -> bytes:
    """TPMT_SIGNATURE over a digest that was not made by the TPM."""
    if len(digest) != 32:
        raise BadRequest("cannot sign: the digest has not 32 bytes")
    session = sessions.carrying(tpm, auth)
    with (
        tpm.persistent(parent) as above,
        tpm.loaded(above, key) as loaded,
        tpm.authorised(loaded, auth),
        doing("sign", sessions.OF_THE_OBJECT),
    ):
        return bytes(tpm.esapi.sign(loaded, digest, _ECDSA_SHA256, session1=session).marshal())


def _unsealed(tpm: Context, loaded: Any, **authorisation: Any) -> Secret:
    with doing("unseal", sessions.OF_THE_OBJECT):
        return Secret(bytes(tpm.esapi.unseal(loaded, **authorisation)))


def unseal(tpm: Context, parent: int, key: SealedObject, auth: Secret, path: tuple[Step, ...]) -> Secret:
    """TPM2_Unseal by the object's own authorisation."""
    session = sessions.confidential(tpm)
    with (
        tpm.reached(parent, path, session) as above,
        tpm.loaded(above, key, session) as loaded,
        tpm.authorised(loaded, auth),
    ):
        return _unsealed(tpm, loaded, session1=session)


def unseal_as_owner(tpm: Context, parent: int, key: SealedObject, owner_auth: Secret) -> Secret:
    """TPM2_Unseal through PolicySecret(owner)."""
    session = sessions.confidential(tpm)
    with (
        sessions.policy(tpm) as policy,
        tpm.persistent(parent) as above,
        tpm.loaded(above, key) as loaded,
    ):
        sessions.policy_secret(tpm, policy, ESYS_TR.OWNER, owner_auth, session)
        return _unsealed(tpm, loaded, session1=policy, session2=session)


def _selection(pcrs: tuple[int, ...]) -> Any:
    return TPML_PCR_SELECTION.parse("sha256:" + ",".join(map(str, pcrs)))


def unseal_by_policy(tpm: Context, parent: int, key: SealedObject, pcrs: tuple[int, ...], auth: Secret) -> Secret:
    """TPM2_Unseal through the policies that systemd gives its objects: PolicyPCR, then PolicyAuthValue."""
    with (
        sessions.salted(tpm, TPM2_SE.POLICY) as session,
        tpm.persistent(parent) as above,
        tpm.loaded(above, key) as loaded,
    ):
        with doing("fulfil the policy"):
            if pcrs:
                tpm.esapi.policy_pcr(session, b"", _selection(pcrs))
            if auth:
                tpm.esapi.policy_auth_value(session)
        with tpm.authorised(loaded, auth):
            return _unsealed(tpm, loaded, session1=session)


def read_pcrs(tpm: Context, pcrs: tuple[int, ...]) -> dict[int, bytes]:
    """TPM2_PCR_Read, one at a time: at most eight come at once, and fewer where the bank is missing."""
    found = {}
    for number in pcrs:
        with doing("read a PCR"):
            _, _, values = tpm.esapi.pcr_read(_selection((number,)))
        if len(values) != 1:
            raise PcrsMissing(f"cannot read PCR {number}: the TPM has no SHA-256 bank")
        found[number] = bytes(values[0])
    return found


def loaded_name(
    tpm: Context, parent: int, key: SealedObject, probe: SealedObject | None, path: tuple[Step, ...]
) -> tuple[Name, Secret]:
    """The Name under which the TPM takes `key`, and what it unseals below it."""
    opened = sessions.confidential(tpm) if probe is not None else sessions.carrying(tpm, *(s.auth for s in path))
    with tpm.reached(parent, path, opened) as above, tpm.loaded(above, key, opened) as loaded:
        name = foreign_name(tpm.public(loaded))
        if probe is None:
            return name, NOTHING
        with tpm.loaded(loaded, probe) as sealed:
            return name, _unsealed(tpm, sealed, session1=opened)


def random(tpm: Context, size: int) -> bytes:
    """Bytes of the TPM's generator, encrypted on their way as soon as that is possible."""
    if not 0 < size <= _RANDOM_MAX:
        raise BadRequest("cannot get more than 32 random bytes at once")
    session = sessions.carrying(tpm)
    with doing("get random bytes"):
        encrypting = ESYS_TR.NONE if session == ESYS_TR.PASSWORD else session
        data = b""
        while len(data) < size:
            data += bytes(tpm.esapi.get_random(size - len(data), session1=encrypting))
    return data
