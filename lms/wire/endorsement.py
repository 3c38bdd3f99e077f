"""Whether an EK belongs to a genuine TPM: its certificate and the chain to the roots that the owner trusts.

TCG EK Credential Profile. EK certificates carry an EKU of their own and no names, so that the usual verifier
profiles refuse them; this one asks for what matters: chain, validity, CA flags, and that the key is the EK.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509 import verification as v

from lms.errors import EkUntrusted
from lms.wire.tpm.public import ALG_RSA, PublicArea, ec_public_key, read_public, rsa_public_key

_EK_CERTIFICATE: Final = x509.ObjectIdentifier("2.23.133.8.1")
_MAX_DEPTH: Final = 4


def _check_eku(policy: v.Policy, certificate: x509.Certificate, eku: x509.ExtendedKeyUsage | None) -> None:
    if eku is not None and _EK_CERTIFICATE not in eku:
        raise ValueError("its extended key usage is not that of an EK certificate")


def _check_usage(policy: v.Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is None or not (usage.key_encipherment or usage.key_agreement):
        raise ValueError("its key usage is not that of an EK certificate")


def _public_key(area: PublicArea) -> object:
    return rsa_public_key(area) if area.type == ALG_RSA else ec_public_key(area)


def check_endorsement_key(
    public: bytes,
    certificate: bytes,
    roots: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
    now: datetime,
) -> None:
    """Raises EkUntrusted unless the certificate (DER) is this EK's (TPM2B_PUBLIC) and leads to one of the roots."""
    if not roots:
        raise EkUntrusted("cannot verify the TPM: no roots of TPM makers are configured")
    ee = (
        v.ExtensionPolicy.permit_all()
        .may_be_present(x509.ExtendedKeyUsage, v.Criticality.AGNOSTIC, _check_eku)
        .require_present(x509.KeyUsage, v.Criticality.AGNOSTIC, _check_usage)
    )
    ca = v.ExtensionPolicy.permit_all().require_present(x509.BasicConstraints, v.Criticality.AGNOSTIC, None)
    try:
        leaf = x509.load_der_x509_certificate(certificate)
        if leaf.public_key() != _public_key(read_public(public)):
            raise EkUntrusted("cannot verify the TPM: its EK certificate is for another key")
        (
            v.PolicyBuilder()
            .store(v.Store(list(roots)))
            .max_chain_depth(_MAX_DEPTH)
            .time(now)
            .extension_policies(ca_policy=ca, ee_policy=ee)
            .build_client_verifier()
            .verify(leaf, list(intermediates))
        )
    except (v.VerificationError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "no chain"
        raise EkUntrusted(f"cannot verify the TPM: its EK certificate leads to no trusted root ({reason})") from None
