"""Memory and CPU time of this process and all of its descendants."""

import threading
from collections.abc import Callable

import psutil

INTERVAL = 0.25


class PeakMemory:
    """Samples the memory of the processes until :meth:`stop`, every ``INTERVAL`` seconds.

    Args:
        memory: function that returns the memory in bytes; by default, the proportional memory (PSS) of all processes.
    """

    def __init__(self, memory: Callable[[], int] | None = None) -> None:
        self._memory = memory or _memory
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        self._peak = self._memory()
        while not self._stop.wait(INTERVAL):
            self._peak = max(self._peak, self._memory())
        self._peak = max(self._peak, self._memory())

    def stop(self) -> int:
        """Stops sampling; returns the highest sum, in bytes."""
        self._stop.set()
        self._thread.join()
        return self._peak


def cpu_seconds() -> float:
    """Returns the CPU time of the processes since their start, including that of descendants that have ended."""
    total = 0.0
    for process in _processes():
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        # A process has the times of those that it waited for.
        total += times.user + times.system + times.children_user + times.children_system
    return total


def memory_without_files() -> int:
    """Returns the resident memory of this process without files that are mapped into it, in bytes (Linux)."""
    found = psutil.Process().memory_info()
    return found.rss - found.shared


def _memory() -> int:
    total = 0
    for process in _processes():
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def _processes() -> list[psutil.Process]:
    process = psutil.Process()
    return [process, *process.children(recursive=True)]
