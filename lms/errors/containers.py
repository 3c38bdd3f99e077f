"""A container of an application key is not as it has to be."""

from __future__ import annotations

from lms.errors.base import Blame, LmsError


class NotAContainer(LmsError):
    blame = Blame.CALLER
    hint = (
        "name a TSS2 PRIVATE KEY without a password, made below the handle of the recoverable key; or a file that is "
        "not there yet"
    )


class AnotherKey(LmsError):
    blame = Blame.STATE
    hint = "nothing is ever overwritten: name another file; `lmsctl csp list` says which key belongs to which"


class NotAStore(LmsError):
    blame = Blame.CALLER
    hint = (
        "make a store first: tpm2_ptool init, its primary handle that of the recoverable key, which `lmsctl status` "
        "says; let nobody else write to it"
    )


class CertificateDiffers(LmsError):
    blame = Blame.CALLER
    hint = "give the certificate of this key first, in PEM or DER, and those of its issuers behind it"


class KeyUnsupported(LmsError):
    blame = Blame.CALLER
    hint = "use a key of RSA with 2048 bits, or on the curves P-256 or P-384"


class Pkcs12Refused(LmsError):
    blame = Blame.AUTHORISATION
    hint = "give the password of this PKCS#12 file; openssl pkcs12 -info says whether the file is whole"


class KeyStaysInTpm(LmsError):
    blame = Blame.CALLER
    hint = "use the TSS2 PRIVATE KEY that `lmsctl csp export` writes: it works here, and where keys are restored to"
