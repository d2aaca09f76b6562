"""Graceful reaction to SIGTERM, which clouds send before they take a machine away."""

import contextlib
import os
import signal
import threading
import types
from collections.abc import Callable
from contextlib import AbstractContextManager

from hamgan.errors import PreemptedError


class PreemptionWatch:
    """Context in which SIGTERM stops the work instead of the process.

    At first, SIGTERM raises ``PreemptedError``, wherever the program is. After :meth:`defer`, it only calls the
    callbacks, and the program stops once it has saved its work.

    Python runs signal handlers between bytecode instructions, but a call that takes a hundred steps on the device is a
    single instruction. Therefore the interpreter's C code writes the signal to a pipe at once, and a thread that reads
    the pipe calls the callbacks.

    Args:
        message: message of the ``PreemptedError``.
    """

    def __init__(
        self, message: str = "stopped by SIGTERM before the first step; what was saved before is kept"
    ) -> None:
        self._message = message
        self._callbacks: list[Callable[[], object]] = []
        self._thread: threading.Thread | None = None
        self._requested = threading.Event()
        self._raises = True
        self._has_raised = False

    def call(self, callback: Callable[[], object]) -> None:
        """Registers a function to call in another thread on SIGTERM, or at once if SIGTERM has come already."""
        self._callbacks.append(callback)
        if self._requested.is_set():
            callback()

    def defer(self) -> None:
        """Lets only the callbacks react to SIGTERM from now on."""
        self._raises = False

    def __enter__(self) -> "PreemptionWatch":
        # Only the main thread can handle signals.
        if threading.current_thread() is threading.main_thread():
            self._reading_end, self._writing_end = os.pipe()
            os.set_blocking(self._writing_end, False)
            self._previous_end = signal.set_wakeup_fd(self._writing_end, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, name="preemption", daemon=True)
            self._thread.start()
            self._previous_handler = signal.signal(signal.SIGTERM, self._handle)
        return self

    def _handle(self, *_: object) -> None:
        if self._raises:
            self._raises = False
            self._has_raised = True
            raise PreemptedError(self._message)

    def _watch(self) -> None:
        while numbers := os.read(self._reading_end, 64):
            if signal.SIGTERM in numbers:
                self._requested.set()
                for callback in list(self._callbacks):
                    callback()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        if self._thread is not None:
            signal.set_wakeup_fd(self._previous_end)
            signal.signal(signal.SIGTERM, self._previous_handler)
            os.close(self._writing_end)
            self._thread.join()
            os.close(self._reading_end)
        if self._has_raised and isinstance(error, Exception):
            # While TensorFlow traces a graph, it replaces the error by one of many lines.
            raise PreemptedError(self._message) from error


def watching(watch: PreemptionWatch | None) -> AbstractContextManager[PreemptionWatch]:
    """Returns a context with an active watch: the given one, or else a new one."""
    return PreemptionWatch() if watch is None else contextlib.nullcontext(watch)
