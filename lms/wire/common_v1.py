"""Elements that documents of several namespaces share, each a function of its namespace (PROTOCOL §4, §6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from lms.model.packages import InnerKey, MsaApproval
from lms.model.policies import Branch, BranchKind, DuplicationPolicy
from lms.model.tpm import Attestation, Credential
from lms.wire.binding import BASE64, HEX, NAME, STRING, Element, Field, enum, many, one, optional

XMLENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XMLDSIG: Final = "http://www.w3.org/2000/09/xmldsig#"
AES_256_GCM: Final = "http://www.w3.org/2009/xmlenc11#aes256-gcm"


def credential_fields(name: str) -> tuple[Field, ...]:
    """CredentialBlob and EncryptedSecret of the `Credential` at `name`."""
    return (one("CredentialBlob", f"{name}.blob", BASE64), one("EncryptedSecret", f"{name}.secret", BASE64))


def attestation_fields(name: str) -> tuple[Field, ...]:
    """Attest and Signature of the `Attestation` at `name`."""
    return (optional("Attest", f"{name}.attest", BASE64), optional("Signature", f"{name}.signature", BASE64))


ATTESTATION_PART: Final = {"attestation": Attestation}


def msa_approval(namespace: str) -> Element:
    """MSAApproval (PROTOCOL §2)."""
    return Element(
        MsaApproval,
        (
            one("Public", "public", BASE64),
            one("ApprovedPolicy", "approved_policy", HEX),
            one("PolicyRef", "policy_ref", BASE64),
            one("Signature", "signature", BASE64),
        ),
        namespace,
    )


def inner_key(namespace: str) -> Element:
    """InnerKey @Recipient (PROTOCOL §3)."""
    return Element(
        InnerKey,
        (one("@Recipient", "recipient", NAME), *credential_fields("credential")),
        namespace,
        parts={"credential": Credential},
    )


def policy(namespace: str) -> Element:
    """The branches of a duplication policy; digests are never carried, they are recomputed."""
    branch = Element(Branch, (one("@Kind", "kind", enum(BranchKind)), optional("@Name", "name", NAME)), namespace)
    return Element(DuplicationPolicy, (many("Branch", "branches", branch),), namespace)


@dataclass(frozen=True, slots=True)
class _Method:
    algorithm: str


@dataclass(frozen=True, slots=True)
class _KeyInfo:
    key_name: str


@dataclass(frozen=True, slots=True)
class _CipherData:
    value: bytes


@dataclass(frozen=True, slots=True)
class EncryptedData:
    """xenc:EncryptedData by AES-256-GCM; `key_info` names the content key where there are several."""

    method: _Method
    key_info: _KeyInfo | None
    data: _CipherData

    @classmethod
    def of(cls, ciphertext: bytes, key_name: str | None = None) -> Self:
        """Around nonce ‖ ciphertext ‖ tag."""
        return cls(_Method(AES_256_GCM), None if key_name is None else _KeyInfo(key_name), _CipherData(ciphertext))

    @property
    def ciphertext(self) -> bytes:
        """nonce ‖ ciphertext ‖ tag."""
        return self.data.value

    @property
    def key_name(self) -> str:
        """The content key's Id, or nothing."""
        return "" if self.key_info is None else self.key_info.key_name


ENCRYPTED_DATA: Final = Element(
    EncryptedData,
    (
        one("EncryptionMethod", "method", Element(_Method, (one("@Algorithm", "algorithm", STRING),), XMLENC, "xenc")),
        optional("KeyInfo", "key_info", Element(_KeyInfo, (one("KeyName", "key_name", STRING),), XMLDSIG, "ds")),
        one("CipherData", "data", Element(_CipherData, (one("CipherValue", "value", BASE64),), XMLENC, "xenc")),
    ),
    XMLENC,
    "xenc",
)
