"""TPM structures as values: opaque blobs and the small structures that travel in documents.

All bytes are TPM wire bytes with their size fields (PROTOCOL §0); `lms.wire.tpm` reads and makes them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credential:
    """What TPM2_MakeCredential gives: TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET."""

    blob: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class SealedObject:
    """A child key as it lies on disk: TPM2B_PUBLIC and TPM2B_PRIVATE, under a known parent."""

    public: bytes
    private: bytes


@dataclass(frozen=True, slots=True)
class Tries:
    """How many of the `most` wrong authorisations that a TPM takes are used up.

    One comes back after each `recovery_s` seconds; 0 is never.
    """

    used: int
    most: int
    recovery_s: int


@dataclass(frozen=True, slots=True)
class OuterWrap:
    """A duplicated key on its way: Duplicate (TPM2B_PRIVATE) and EncryptedSeed (TPM2B_ENCRYPTED_SECRET)."""

    duplicate: bytes
    seed: bytes


@dataclass(frozen=True, slots=True)
class Attestation:
    """TPM2B_ATTEST and the TPMT_SIGNATURE of the attestation key over it."""

    attest: bytes
    signature: bytes
