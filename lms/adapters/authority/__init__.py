"""A Migration Authority at the other end of a TLS connection: the only importer of zeep (PROTOCOL §5 TLS, §7)."""

from __future__ import annotations

from lms.adapters.authority.channel import ClientCertificate
from lms.adapters.authority.client import AuthorityClient

__all__ = ["AuthorityClient", "ClientCertificate"]
