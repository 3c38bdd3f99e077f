"""OpenSSL as applications use it: with the provider for TPMs where a key is in one, without it elsewhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from lms.service.setting import NO_SECRET
from tests.support.platform import Platform
from tests.support.volumes import Acting

PROVIDERS = ("-provider", "tpm2", "-provider", "default")
PASSWORD = b"the password of a file"


class Serving(Acting):
    """The acts of one platform as the service does them: each begins anew with the TPM."""

    def __call__(self, *words, **more):
        self.platform.tpm.begin(NO_SECRET)
        return super().__call__(*words, **more)


def openssl(*words: object, tpm: Platform | None = None, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run openssl; with the TPM of a platform, which the service leaves to it."""
    environment = dict(os.environ)
    first, *others = map(str, words)
    if tpm is not None:
        tpm.let_go()
        environment["TPM2OPENSSL_TCTI"] = tpm.machine.tcti
        others = [*PROVIDERS, *others]
    done = subprocess.run(["openssl", first, *others], env=environment, capture_output=True, check=False)
    if tpm is not None:  # what the provider leaves behind a resource manager would take away
        subprocess.run(["tpm2_flushcontext", "-T", tpm.machine.tcti, "-t"], check=True, capture_output=True)
    assert not check or done.returncode == 0, done.stderr.decode()
    return done


def signs(tpm: Platform, key: Path) -> bool:
    """Whether OpenSSL signs with the key in a file, and verifies by its public half without a TPM."""
    data, signature, public = (key.with_name(f"{key.name}.{word}") for word in ("data", "signature", "public"))
    data.write_bytes(b"what an application signs")
    words = ("pkeyutl", "-sign", "-rawin", "-digest", "sha256", "-inkey", key, "-in", data, "-out", signature)
    if openssl(*words, tpm=tpm, check=False).returncode != 0:
        return False
    openssl("pkey", "-in", key, "-pubout", "-out", public, tpm=tpm)
    return verifies(public, data, signature)


def verifies(public: Path, data: Path, signature: Path) -> bool:
    """Whether a signature is that of a public key."""
    words = ("dgst", "-sha256", "-verify", public, "-signature", signature, data)
    return openssl(*words, check=False).returncode == 0


def certify(tpm: Platform, key: Path, certificate: Path, subject: str = "/CN=host.example") -> Path:
    """A certificate of a key in a TPM: it signs the request, an authority issues."""
    request, authority, issuer = (certificate.with_name(word) for word in ("request", "ca.key", "ca.crt"))
    openssl("req", "-new", "-key", key, "-subj", subject, "-out", request, tpm=tpm)
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", authority)
    openssl("req", "-new", "-x509", *new, "-subj", "/CN=issuer", "-out", issuer)
    openssl("x509", "-req", "-in", request, "-CA", issuer, "-CAkey", authority, "-CAcreateserial", "-out", certificate)
    return certificate


def make_pkcs12(directory: Path, algorithm: str = "EC", password: bytes = PASSWORD) -> Path:
    """A PKCS#12 file as an authority hands it out: key, certificate and issuer; the public key as `soft.public`."""
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if algorithm == "EC" else ("-pkeyopt", "rsa_keygen_bits:2048")
    key, certificate, file = directory / "soft.key", directory / "soft.crt", directory / "soft.p12"
    issuer = directory / "issuer.crt"
    openssl("genpkey", "-algorithm", algorithm, *curve, "-out", key)
    openssl("req", "-new", "-x509", "-key", key, "-subj", "/CN=brought.example", "-out", certificate)
    openssl("req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-subj", "/CN=issuer",
            "-out", issuer)  # fmt: skip
    (directory / "p12-password").write_bytes(password + b"\n")
    openssl("pkcs12", "-export", "-inkey", key, "-in", certificate, "-certfile", issuer, "-out", file,
            "-passout", f"file:{directory}/p12-password")  # fmt: skip
    openssl("pkey", "-in", key, "-pubout", "-out", directory / "soft.public")
    return file
