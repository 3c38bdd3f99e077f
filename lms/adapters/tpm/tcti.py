"""ESAPI's way to the TPM: a TCTI around our channel (TCG TSS 2.0 TCTI Specification)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss.TCTI import PyTCTI
from tpm2_pytss.TSS2_Exception import TSS2_Exception

from lms.adapters.channel import RESPONSE_MAX, Channel, Refused


@contextmanager
def _told_to_libtss2() -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise TSS2_Exception(error.rc) from error


class ChannelTcti(PyTCTI):  # type: ignore[misc]
    """A TCTI with the channel's deadlines."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(max_size=RESPONSE_MAX)
        self._channel = channel

    def do_transmit(self, command: bytes) -> None:
        with _told_to_libtss2():
            self._channel.transmit(command)

    def do_receive(self, timeout: int) -> bytes:
        del timeout  # ESAPI's blocking calls give none
        with _told_to_libtss2():
            return self._channel.receive()
