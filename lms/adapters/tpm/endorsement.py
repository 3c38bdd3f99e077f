"""Endorsement keys (TCG EK Credential Profile for TPM Family 2.0), and finding a key by its Name.

EKs are persistent or made anew from their templates. Whether a certificate is to be believed is judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final, NamedTuple

from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.TSS2_Exception import TSS2_Exception
from tpm2_pytss.types import TPM2B_PUBLIC
from tpm2_pytss.utils import NoSuchIndex, create_ek_template

from lms.adapters.tpm import capabilities
from lms.adapters.tpm.context import Context, name_or_none, read
from lms.adapters.tpm.responses import BAD_AUTH, HANDLE, doing
from lms.errors import AuthFailed, EndorsementAuthFailed, KeyNotFound, MalformedStructure, TpmFailed
from lms.model.keys import Name
from lms.model.secret import Secret
from lms.ports import EndorsementKey
from lms.wire.tpm.public import ALG_RSA, read_public, template_of

_PROFILES: Final = (  # tpm2_pytss's names; RSA-2048 first, low range (with a default template) before high
    "EK-RSA2048",
    "EK-HIGH-RSA2048",
    "EK-ECC256",
    "EK-HIGH-ECC256",
    "EK-HIGH-ECC384",
)
_DEFAULTS: Final = ("EK-RSA2048", "EK-ECC256")
_NV_CHUNK: Final = 512
_EK_HANDLES: Final = range(0x81010000, 0x81020000)


class _Candidate(NamedTuple):
    """An EK that the TPM may have: TPM2B_PUBLIC as template, and the certificate in NV."""

    template: bytes
    certificate: bytes | None


def _read_nv(tpm: Context, index: int) -> bytes:
    """A whole NV index with empty authorisation; NoSuchIndex."""
    try:
        with doing(f"read the NV index {index:#x}", {HANDLE: KeyNotFound, BAD_AUTH: AuthFailed}):
            area = tpm.esapi.tr_from_tpmpublic(index)
            try:
                public, _ = tpm.esapi.nv_read_public(area)
                size, data = int(public.nvPublic.dataSize), b""
                while len(data) < size:
                    data += bytes(tpm.esapi.nv_read(area, min(_NV_CHUNK, size - len(data)), len(data)))
            finally:
                with suppress(TSS2_Exception):
                    tpm.esapi.tr_close(area)
    except KeyNotFound as error:
        raise NoSuchIndex(index) from error
    return data


def _trimmed(certificate: bytes) -> bytes:
    """A DER certificate without what NV holds after its end."""
    if certificate[:2] != b"\x30\x82":
        return certificate
    return certificate[: 4 + int.from_bytes(certificate[2:4], "big")]


def _candidates(tpm: Context) -> Iterator[_Candidate]:
    """The EKs with a certificate; for a family (RSA, ECC) without one the default template."""
    found: list[tuple[str, _Candidate]] = []
    for profile in _PROFILES:
        try:
            certificate, template = create_ek_template(profile, lambda index: _read_nv(tpm, index))
        except ValueError:  # not in this TPM
            continue
        kept = _trimmed(certificate) if certificate else None
        found.append((profile, _Candidate(bytes(template.marshal()), kept)))
    certified = {_family(candidate.template) for _, candidate in found if candidate.certificate}
    for profile, candidate in found:
        if candidate.certificate or (profile in _DEFAULTS and _family(candidate.template) not in certified):
            yield candidate


def _family(public: bytes) -> int:
    return int.from_bytes(public[2:4], "big")


@contextmanager
def derived(
    tpm: Context, template: bytes, session: Any = ESYS_TR.PASSWORD, auth: Secret | None = None
) -> Iterator[Any]:
    """A primary key of the endorsement hierarchy as a transient object."""
    area = read(TPM2B_PUBLIC, template)
    with (
        doing("derive a key of the endorsement hierarchy", {BAD_AUTH: EndorsementAuthFailed}),
        tpm.authorised(ESYS_TR.ENDORSEMENT, auth or Secret(b"")),
        tpm.patience(template),
    ):
        key, *_ = tpm.esapi.create_primary(None, area, ESYS_TR.ENDORSEMENT, session1=session)
    with tpm.flushing(key):
        yield key


def _follows(public: bytes, template: bytes) -> bool:
    """Whether an existing key was made from `template`, whatever the template's unique field."""
    area = read(TPM2B_PUBLIC, template)
    if _family(template) == ALG_RSA:
        area.publicArea.unique.rsa = b""
    else:
        area.publicArea.unique.ecc.x = b""
        area.publicArea.unique.ecc.y = b""
    try:
        return template_of(public) == bytes(area.marshal())
    except MalformedStructure:
        return False


def _certifies(certificate: bytes, public: bytes) -> bool:
    """Whether the key's numbers stand in the certificate; enough to pair them, and no parser of old chips' quirks."""
    return read_public(public).unique in certificate  # the modulus, or x ‖ y of an uncompressed point


def _stored(tpm: Context) -> tuple[bytes, ...]:
    """Publics of the persistent keys in the range of EKs."""
    handles = (h for h in capabilities.persistent_handles(tpm.channel) if h in _EK_HANDLES)
    return tuple(public for handle in handles if (public := tpm.public_at(handle)) is not None)


def _public_of(tpm: Context, candidate: _Candidate, stored: tuple[bytes, ...], session: Any) -> bytes | None:
    """The EK's public: a persistent one that fits, or else derived; None where the TPM cannot make a default one."""
    for public in stored:
        if _follows(public, candidate.template) and (
            candidate.certificate is None or _certifies(candidate.certificate, public)
        ):
            return public
    try:
        with derived(tpm, candidate.template, session, tpm.endorsement_auth) as key:
            return tpm.public(key)
    except TpmFailed:  # an algorithm that this TPM does not have
        if candidate.certificate is None:
            return None
        raise


def endorsement_keys(tpm: Context, session: Any) -> tuple[EndorsementKey, ...]:
    """All EKs of the TPM, RSA-2048 first; a certificate that is for another key is left out."""
    keys = []
    with doing("list the persistent keys"):
        stored = _stored(tpm)
    for candidate in _candidates(tpm):
        public = _public_of(tpm, candidate, stored, session)
        if public is not None:
            fits = candidate.certificate is not None and _certifies(candidate.certificate, public)
            keys.append(EndorsementKey(public, candidate.certificate if fits else None))
    return tuple(keys)


@contextmanager
def key_named(tpm: Context, name: Name, session: Any = ESYS_TR.PASSWORD, auth: Secret | None = None) -> Iterator[Any]:
    """The persistent key, or else the EK, with this Name; KeyNotFound.

    The key that salts sessions is looked for without a session: where the endorsement hierarchy has an
    authorisation, it must be persistent.
    """
    with doing("list the persistent keys"):
        handles = capabilities.persistent_handles(tpm.channel)
    for handle in sorted(handles, key=lambda h: h != tpm.salt.handle):
        with tpm.persistent(handle) as key:
            if name_or_none(tpm.public(key)) == name:
                tpm.salt.handle = handle
                yield key
                return
    for candidate in _candidates(tpm):
        with ExitStack() as stack:
            try:
                key = stack.enter_context(derived(tpm, candidate.template, session, auth))
            except TpmFailed:  # an algorithm that this TPM does not have
                continue
            if name_or_none(tpm.public(key)) == name:
                yield key
                return
    raise KeyNotFound(f"cannot find the key {name} in the TPM")
