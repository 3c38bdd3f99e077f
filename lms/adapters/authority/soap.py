"""The door to zeep: requests by the WSDL of this package, answers by our own hardened reader (PROTOCOL §7).

zeep is imported by the first call (a tenth of a second, 15 MiB) and loads nothing but files of this package. It
never sees an answer: it checks no facet and knows no limit, so `lms.wire.reply` alone reads what an authority says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from lxml import etree

from lms.adapters.authority.deadline import Attempt
from lms.errors import AuthorityFailed, DocumentError
from lms.wire.document import MIB
from lms.wire.reply import read_reply
from lms.wire.service_v1 import OPERATIONS, SCHEMA, WSDL

Post = Callable[[bytes, Mapping[str, str], int, Attempt], bytes]
_SHIPPED: Final = frozenset({WSDL, SCHEMA, "common-1.xsd"})
# Most bytes of an answer: the largest document in base64, a trust list, two full lists; all else is small.
_LIMITS: Final = {"Download": 150 * MIB, "Authenticate": 12 * MIB, "Query": 8 * MIB}
_LIMIT: Final = 64 * 1024


def _base64_size(size: int) -> int:
    return (size + 2) // 3 * 4


class _Files:
    """What zeep loads a WSDL through."""

    def load(self, url: str) -> bytes:
        """A file of this package, wherever a URL says that it lies."""
        name = url.rsplit("/", 1)[-1]
        if name not in _SHIPPED:
            raise AuthorityFailed(f"cannot load '{name}': only the schemas of this package are ever loaded")
        return (files("lms.wire") / "schemas" / name).read_bytes()


class _Transport(_Files):
    """What zeep wants of a transport."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.limit = _LIMIT
        self.attempt: Attempt | None = None

    def post_xml(self, address: str, envelope: etree._Element, headers: Mapping[str, str]) -> bytes:
        """Send the envelope to whom the channel was made for; `address` is the WSDL's placeholder."""
        assert self.attempt is not None
        message = etree.tostring(envelope, encoding="utf-8", xml_declaration=True)
        return self._post(message, headers, self.limit, self.attempt)


class Soap:
    """The operations of the service, over one channel."""

    def __init__(self, post: Post) -> None:
        self._transport = _Transport(post)
        self._service: Any = None

    def call(self, operation: str, arguments: Mapping[str, Any], attempt: Attempt, at_most: int | None = None) -> Any:
        """The answer of `lms.wire.service_v1`, or the MigrationFault that came instead.

        Raises AuthorityFailed where it is neither, or longer than one with a document of `at_most` bytes, and the
        errors of `Channel.post`.
        """
        if self._service is None:
            self._service = self._open()
        self._transport.limit = _LIMITS.get(operation, _LIMIT) if at_most is None else _LIMIT + _base64_size(at_most)
        self._transport.attempt = attempt
        reply = self._service[operation](**arguments)
        try:
            return read_reply(reply, OPERATIONS[operation])
        except DocumentError as error:
            raise AuthorityFailed(f"cannot use the answer to {operation}: {error}") from None

    def _open(self) -> Any:
        from zeep import Client

        description = _description()
        return Client(description, transport=self._transport, settings=description.settings).service


@cache
def _description() -> Any:
    """The WSDL of this package, as zeep has it: read once, it is the same for every authority."""
    from zeep import Settings
    from zeep.wsdl import Document

    settings = Settings(
        strict=True,
        forbid_dtd=True,
        forbid_entities=True,
        forbid_external=True,
        xml_huge_tree=False,
        raw_response=True,
    )
    shipped: Any = _Files()
    return Document(WSDL, shipped, settings=settings)
