"""A document is unacceptable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from lms.errors.base import AUTHORITY_PROGRAM, Blame, LmsError


class DocumentError(LmsError):
    """Base of everything that makes a document unacceptable."""

    blame = Blame.DOCUMENT
    hint = "use another copy; this file was altered, truncated or is not what its name says"


class TooLarge(DocumentError):
    hint = "a genuine document of this kind is never so large: check that it is the right file"


class MalformedXml(DocumentError):
    pass


class DoctypeForbidden(DocumentError):
    pass


class NotCanonical(DocumentError):
    hint = "the file was reformatted (an editor, a mail program); use the original bytes"


class SchemaViolation(DocumentError):
    pass


class WrongDocument(DocumentError):
    hint = "give the kind of document that the command asks for"


class SignatureInvalid(DocumentError):
    hint = "the document was altered after it was signed; use another copy"


class UntrustedSigner(DocumentError):
    hint = (
        "check whose file this is: its signer does not belong to the owner document in use; a package of a machine "
        "that nobody approved is believed for its key's digits, `--confirm-key`"
    )
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "the signer does not belong to the owner document in use; check whose file this is"
    }


class WrongRole(DocumentError):
    hint = "the signer may not sign this, or speaks for another platform or authority: check whose file this is"


class SignerWithdrawn(DocumentError):
    hint = "the signer was withdrawn by the trust list; ask the Migration Selection Authority"


class UnsupportedVersion(DocumentError):
    hint = "a newer version of this software made the document; update first"


class PackageExpired(DocumentError):
    hint = "ask the source for a fresh package"


class PackageStale(DocumentError):
    hint = "a newer package is known; restore that one, or accept this with `--accept-stale SEQUENCE`"


class WrongDestination(DocumentError):
    hint = (
        "a token that was never enrolled here opens no key of this machine: restore at another destination, as "
        "`lmsctl restore` does through the authorities, or use a package that was made for this one"
    )
    hints: ClassVar[Mapping[str, str]] = {
        AUTHORITY_PROGRAM: "the package holds nothing for this destination: use another package or destination"
    }


class MalformedStructure(DocumentError):
    hint = "a TPM structure in the document is damaged; use another copy"


class NameMismatch(DocumentError):
    hint = "a key is not the one that it says: a stranger put the document together, use another copy"


class BadAttributes(DocumentError):
    hint = "a key has attributes that its role forbids: use another copy, and find out who made this one"


class PolicyMismatch(DocumentError):
    hint = "a key's policy is not the one that the document states: use another copy, and find out who made this one"


class ApprovalInvalid(DocumentError):
    hint = (
        "the approval is for another key or destination, or by another owner: ask for one that names this destination"
    )


class CertificationInvalid(DocumentError):
    hint = "the evidence of the key's birth does not fit the key: use another copy, and find out who made this one"


class InnerKeyMismatch(DocumentError):
    hint = "the inner key was made for another platform, chip or key: ask for an approval of this machine's own request"


class ContentMismatch(DocumentError):
    hint = "what was decrypted belongs to another element: a stranger put the document together, use another copy"


class RequestInvalid(DocumentError):
    hint = "the request was altered on its way, or put together from several; ask the machine for a new one"


class DigitsDiffer(DocumentError):
    hint = "this is another request than the machine shows: do not approve it, find out who exchanged it"


class GrantMismatch(DocumentError):
    hint = "this grant answers another request; make a new request on this machine and have that one approved"


class ReleaseMismatch(GrantMismatch):
    hint = (
        "this authority released something else than the owner approved: tell the owner, and go on with another one, "
        "or with `lmsctl restore --token FILE`"
    )


class TrustListConflict(DocumentError):
    hint = "two trust lists claim the same number; the first stays, ask the Migration Selection Authority"


class ApprovalExpired(DocumentError):
    hint = "the approval is not valid now: check the clock, or ask for a new approval"


class SequenceTooHigh(DocumentError):
    hint = "the platform counted further than it could have since its last package: find out who made this one"


class OwnerMismatch(DocumentError):
    hint = "compare the fingerprint of the owner document with the one that was written down"


class FingerprintDiffers(DocumentError):
    hint = "compare it with what was written down: it was mistyped, or somebody exchanged the document"


class SheetMismatch(DocumentError):
    hint = "this is another platform's recovery sheet: give that of this machine, or none"


class SheetStale(DocumentError):
    hint = "a newer recovery sheet of this platform is known here: use that one"
