"""`Secret`: bytes that never show themselves.

It keeps a secret out of logs, tracebacks and debug output. It does not promise to wipe memory: Python
copies bytes at will, so what must not outlive its use lives in a short process (`lms.opener`).
"""

from __future__ import annotations


class Secret:
    """Bytes whose `repr`, `str` and pickle tell nothing; `reveal()` is the only way out."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        self._value = bytes(value)

    def reveal(self) -> bytes:
        """The secret bytes; the caller must neither print nor store them."""
        return self._value

    def __len__(self) -> int:
        return len(self._value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        from hmac import compare_digest  # OpenSSL comes with it, and a look at boot compares nothing

        return isinstance(other, Secret) and compare_digest(self._value, other._value)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("cannot pickle a Secret")
