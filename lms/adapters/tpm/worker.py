"""The one thread that talks to the TPM: a connection belongs to one thread, and a TPM does one thing at a time.

A connection on which anything failed is thrown away: libtss2 does not recover one after an error of the
transport, and a new one costs less than a millisecond. So is one that nobody used for a while: a session that
grows old keeps everybody's from being saved (TPM_RC_CONTEXT_GAP).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from lms.adapters.tpm.connection import Connection
from lms.errors import TpmBusy, TpmUnavailable

T = TypeVar("T")

_IDLE_S: Final = 5.0


class Worker:
    """Runs jobs one after the other, each on a sound connection; the caller waits for the result."""

    def __init__(self, connect: Callable[[], Connection], told: Callable[[TpmUnavailable], TpmUnavailable]) -> None:
        """`told`: the same error with what is known of its cause."""
        self._connect = connect
        self._told = told
        self._connection: Connection | None = None
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="tpm", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Connection], T]) -> T:
        """Do `job` in the worker's thread; its result or its error."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise TpmUnavailable("cannot use the TPM: the connection was closed")
            self._jobs.put(partial(self._do, job, future))
        return future.result()

    def renew(self) -> None:
        """Throw the connection away when the jobs that wait are done; the next one gets a new one."""
        self._jobs.put(self._drop)

    def close(self) -> None:
        """Finish the jobs that wait, then let go of the TPM; twice is harmless."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (turn := self._next()) is not None:
            turn()
            del turn  # a job holds secrets
        self._drop()

    def _next(self) -> Callable[[], None] | None:
        try:
            return self._jobs.get(timeout=None if self._connection is None else _IDLE_S)
        except Empty:
            return self._drop

    def _do(self, job: Callable[[Connection], Any], future: Future[Any]) -> None:
        try:
            result = self._result(job)
        except BaseException as error:  # noqa: BLE001 (it is raised in the caller)
            self._drop(answers=not isinstance(error, TpmUnavailable))
            future.set_exception(self._told(error) if isinstance(error, TpmUnavailable) else error)
        else:
            future.set_result(result)

    def _result(self, job: Callable[[Connection], T]) -> T:
        """A job's result. Where a reset took the session that was open already, it is done once more."""
        if self._connection is not None and self._connection.in_session:
            try:
                return job(self._connection)
            except TpmBusy:
                self._drop()
        if self._connection is None:
            self._connection = self._connect()
        return job(self._connection)

    def _drop(self, *, answers: bool = True) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(answers=answers)
