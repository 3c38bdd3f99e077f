"""The enveloped XMLDSig of all our documents, in the one form of PROTOCOL §6.

A document is its own canonical form and ds:Signature is the root's last child, so what is signed is the
document's bytes without those of the signature. The signature element has exactly one spelling: reading
rebuilds it and compares bytes, so nothing inside it can vary unseen. W3C xmldsig-core1, xml-exc-c14n.
Who signed is judged elsewhere (`lms.wire.certificates`).
"""

from __future__ import annotations

import base64
import hashlib
import threading
import warnings
from typing import Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from lxml import etree

from lms.errors import SignatureInvalid
from lms.model.packages import Signed
from lms.wire.common_v1 import XMLDSIG
from lms.wire.tpm.signature import read_ecdsa, verify_digest, write_ecdsa

_EXCLUSIVE: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
_OPEN: Final = f'<ds:Signature xmlns:ds="{XMLDSIG}">'
_CLOSE: Final = "</ds:Signature>"
_VALUE_SIZE: Final = 64
_QUIETLY: Final = threading.Lock()


class Signer(Protocol):
    """A key that signs documents, and the certificates to show: the signer's first."""

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """DER; the first is the signer's."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """TPMT_SIGNATURE (ECDSA P-256, SHA-256) over a 32-byte digest."""
        ...


def _element(name: str, algorithm: str) -> str:
    return f'<ds:{name} Algorithm="{algorithm}"></ds:{name}>'


def _signed_info(digest: bytes, declaration: str = "") -> str:
    return (
        f"<ds:SignedInfo{declaration}>"
        + _element("CanonicalizationMethod", _EXCLUSIVE)
        + _element("SignatureMethod", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256")
        + '<ds:Reference URI=""><ds:Transforms>'
        + _element("Transform", XMLDSIG + "enveloped-signature")
        + _element("Transform", _EXCLUSIVE)
        + "</ds:Transforms>"
        + _element("DigestMethod", "http://www.w3.org/2001/04/xmlenc#sha256")
        + f"<ds:DigestValue>{base64.b64encode(digest).decode()}</ds:DigestValue></ds:Reference></ds:SignedInfo>"
    )


def _to_be_signed(digest: bytes) -> bytes:
    # On its own, SignedInfo's canonical form declares the prefix that its parent declared in the document.
    return _signed_info(digest, f' xmlns:ds="{XMLDSIG}"').encode()


def _signature(digest: bytes, value: bytes, certificates: tuple[bytes, ...]) -> bytes:
    texts = "".join(f"<ds:X509Certificate>{base64.b64encode(c).decode()}</ds:X509Certificate>" for c in certificates)
    return (
        f"{_OPEN}{_signed_info(digest)}<ds:SignatureValue>{base64.b64encode(value).decode()}</ds:SignatureValue>"
        f"<ds:KeyInfo><ds:X509Data>{texts}</ds:X509Data></ds:KeyInfo>{_CLOSE}"
    ).encode()


def sign(unsigned: bytes, signer: Signer) -> bytes:
    """The signed document; `unsigned` is the canonical form of one element."""
    digest = hashlib.sha256(unsigned).digest()
    r, s = read_ecdsa(signer.sign(hashlib.sha256(_to_be_signed(digest)).digest()))
    value = r.to_bytes(_VALUE_SIZE // 2, "big") + s.to_bytes(_VALUE_SIZE // 2, "big")
    end = unsigned.rindex(b"</")
    return unsigned[:end] + _signature(digest, value, signer.certificates) + unsigned[end:]


def _text(parent: etree._Element, path: str) -> bytes:
    found = parent.findtext(path.replace("ds:", f"{{{XMLDSIG}}}"))
    return base64.b64decode(found or "", validate=True)


def read_signature(document: bytes, root: etree._Element) -> Signed:
    """The signature of a schema-valid, canonical document. Raises SignatureInvalid for any other spelling."""
    try:
        element = root[-1]
        start = document.rindex(_OPEN.encode())
        end = document.rindex(_CLOSE.encode()) + len(_CLOSE)
        value = _text(element, "ds:SignatureValue")
        certificates = tuple(
            base64.b64decode(c.text or "", validate=True) for c in element.iter(f"{{{XMLDSIG}}}X509Certificate")
        )
    except (ValueError, IndexError):
        raise SignatureInvalid("cannot find the document's signature in its one allowed form") from None
    content = hashlib.sha256(memoryview(document)[:start])
    content.update(document[end:])
    digest = content.digest()
    if len(value) != _VALUE_SIZE or not certificates or document[start:end] != _signature(digest, value, certificates):
        raise SignatureInvalid("cannot verify the signature: the document was altered")
    return Signed(_to_be_signed(digest), value, certificates)


def read_certificate(der: bytes) -> tuple[x509.Certificate, ec.EllipticCurvePublicKey]:
    """A certificate whose extensions can be read, and its P-256 key; ValueError for all that is not that."""
    try:
        with _QUIETLY, warnings.catch_warnings():
            # What the library finds odd in a stranger's certificate is nothing for a person's terminal.
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(der)
            key = certificate.public_key()
            _ = certificate.extensions
    except (
        UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType,
    ) as error:  # fmt: skip
        raise ValueError(str(error)) from None
    if der[-len(certificate.signature) - 1] != 0:  # bits that are not used: the library reads past them
        raise ValueError("its signature is no whole number of bytes")
    match key:
        case ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
            return certificate, key
    raise ValueError("its key is not on P-256")


def verify(signed: Signed) -> x509.Certificate:
    """The certificate whose key made the signature; whether to believe it is the caller's duty.

    Raises SignatureInvalid.
    """
    try:
        certificate, key = read_certificate(signed.certificates[0])
    except ValueError:
        raise SignatureInvalid("cannot verify the signature: its certificate is damaged or not on P-256") from None
    half = _VALUE_SIZE // 2
    signature = write_ecdsa(int.from_bytes(signed.value[:half], "big"), int.from_bytes(signed.value[half:], "big"))
    verify_digest(key, hashlib.sha256(signed.signed_info).digest(), signature)
    return certificate
