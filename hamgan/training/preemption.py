"""SIGTERM, by which a machine is announced to be taken away, as a variable that a running step loop sees."""

import os
import signal
import threading
import types
from collections.abc import Callable

import tensorflow as tf


class PreemptionWatch:
    """While in its context, SIGTERM sets a variable instead of ending the process.

    Python runs signal handlers between its own instructions, and a call that takes a hundred steps on the device is one
    of them. So the signal is written to a pipe by the interpreter's C code, at once, and a thread that reads the pipe
    sets the variable, which the loop in the graph looks at before each step.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self.requested = tf.Variable(False, trainable=False, name="preemption_requested")
            """Whether to stop; read it in a graph."""
        self._callbacks: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None

    def call(self, callback: Callable[[], None]) -> None:
        """Has ``callback`` called when SIGTERM comes, in another thread."""
        self._callbacks.append(callback)

    def __enter__(self) -> "PreemptionWatch":
        # Only the main thread may handle signals; elsewhere nothing is watched.
        if threading.current_thread() is threading.main_thread():
            self._reading_end, self._writing_end = os.pipe()
            os.set_blocking(self._writing_end, False)
            self._previous_handler = signal.signal(signal.SIGTERM, lambda *_: None)
            self._previous_end = signal.set_wakeup_fd(self._writing_end, warn_on_full_buffer=False)
            self._thread = threading.Thread(target=self._watch, name="preemption", daemon=True)
            self._thread.start()
        return self

    def _watch(self) -> None:
        while numbers := os.read(self._reading_end, 64):
            if signal.SIGTERM in numbers:
                self.requested.assign(True)
                for callback in self._callbacks:
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
