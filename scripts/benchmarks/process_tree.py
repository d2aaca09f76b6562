"""Memory and CPU time of this process and all of its descendants."""

import threading

import psutil

INTERVAL = 0.25


class PeakMemory:
    """Samples the proportional memory (PSS) of the processes until :meth:`stop`, every ``INTERVAL`` seconds."""

    def __init__(self) -> None:
        self._peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        self._peak = _memory()
        while not self._stop.wait(INTERVAL):
            self._peak = max(self._peak, _memory())
        self._peak = max(self._peak, _memory())

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
