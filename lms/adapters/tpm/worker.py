"""The one thread that talks to the TPM: an ESAPI context belongs to one thread, and a TPM does one thing at a time.

A context in which anything failed is thrown away: libtss2 does not recover one after an error of the
transport, and a new one costs less than a millisecond.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

from lms.adapters.tpm.context import Context
from lms.errors import TpmUnavailable

T = TypeVar("T")
Job = tuple[Callable[[Context], Any], "Future[Any]"]


class Worker:
    """Runs jobs one after the other, each with a sound context; the caller waits for the result."""

    def __init__(self, open_context: Callable[[], Context], told: Callable[[TpmUnavailable], TpmUnavailable]) -> None:
        """`told`: the same error with what is known of its cause."""
        self._open_context = open_context
        self._told = told
        self._context: Context | None = None
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._outdated = False
        self._thread = threading.Thread(target=self._work, name="tpm", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Context], T]) -> T:
        """Do `job` in the worker's thread; its result or its error."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise TpmUnavailable("cannot use the TPM: the connection was closed")
            self._jobs.put((job, future))
        return future.result()

    def renew(self) -> None:
        """Throw the context away before the next job, which gets a new one."""
        self._outdated = True

    def close(self) -> None:
        """Finish the jobs that wait, then let go of the TPM; twice is harmless."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._jobs.get()) is not None:
            self._do(*item)
            del item  # a job holds secrets
        self._drop()

    def _do(self, job: Callable[[Context], Any], future: Future[Any]) -> None:
        if self._outdated:
            self._outdated = False
            self._drop()
        try:
            if self._context is None:
                self._context = self._open_context()
            result = job(self._context)
        except BaseException as error:  # noqa: BLE001 (it is raised in the caller)
            self._drop()
            future.set_exception(self._told(error) if isinstance(error, TpmUnavailable) else error)
        else:
            future.set_result(result)

    def _drop(self) -> None:
        context, self._context = self._context, None
        if context is not None:
            context.close()
