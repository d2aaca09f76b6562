"""Runs independent tasks on all cores of this machine, with a progress bar."""

import concurrent.futures
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from tqdm import tqdm

from hamgan.errors import UserError

Result = TypeVar("Result")

_POLL_SECONDS = 0.2
_PRELOADED = ["data_prep.worker_imports", "data_prep.imagenet", "data_prep.image_folder", "data_prep.voc"]
"""Modules that the fork server imports. It skips those whose packages are not installed."""
_progress: Any = None
"""In a worker, the counter shared by all processes."""


def start_importing() -> None:
    """Starts the fork server, which imports TensorFlow in the background."""
    multiprocessing.forkserver.set_forkserver_preload(_PRELOADED)
    multiprocessing.forkserver.ensure_running()


class LocalWorkers:
    """A pool of worker processes, to be used in a ``with`` statement.

    Workers are forked from a process that has imported TensorFlow but not initialized it. They start quickly and share
    most of TensorFlow's memory.

    Args:
        count: number of processes; None for one more than the number of cores, since some wait for the disk.
    """

    def __init__(self, count: int | None) -> None:
        self.count = count or _cores() + 1
        start_importing()
        context = multiprocessing.get_context("forkserver")
        self._counter = context.Value("q", 0)
        self._executor = concurrent.futures.ProcessPoolExecutor(
            self.count, mp_context=context, initializer=_start_worker, initargs=(self._counter,)
        )

    def __enter__(self) -> "LocalWorkers":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            # Stop at once: finished shards are on disk, and unfinished ones are rewritten anyway.
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        self._executor.shutdown(cancel_futures=True)

    def run(
        self, function: Callable[..., Result], work: Sequence[tuple[Any, ...]], *, title: str, unit: str, total: int
    ) -> list[Result]:
        """Calls ``function(*item)`` for every item of ``work`` and returns the results in order.

        Args:
            function: picklable function that reports its progress with :func:`advance`.
            work: picklable arguments of each call.
            title: title of the progress bar.
            unit: unit of the progress bar.
            total: length of the progress bar, in units.

        Raises:
            UserError: a process died, nearly always because memory ran out.
        """
        self._counter.value = 0
        with tqdm(desc=title, unit=f" {unit}", total=total, dynamic_ncols=True, mininterval=0.5) as bar:
            try:
                futures = [self._executor.submit(function, *item) for item in work]
                waiting: Iterable[concurrent.futures.Future[Result]] = futures
                while waiting:
                    done, waiting = concurrent.futures.wait(
                        waiting, _POLL_SECONDS, return_when=concurrent.futures.FIRST_EXCEPTION
                    )
                    bar.update(self._counter.value - bar.n)
                    for future in done:
                        future.result()
            except BrokenProcessPool as error:  # submit() raises it too, if a worker dies early
                raise UserError(
                    f"one of {self.count} worker processes was killed, most likely because memory ran out; run the "
                    "same command again with a smaller --workers to resume"
                ) from error
            return [future.result() for future in futures]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def advance(amount: int) -> None:
    """Reports progress in units of the progress bar. Does nothing outside a worker."""
    if _progress is not None:
        with _progress.get_lock():
            _progress.value += amount


def _start_worker(progress: Any) -> None:
    global _progress
    _progress = progress
    # Ctrl-C reaches every process in the terminal's foreground group; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _silence_libjpeg()

    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")


def _exit_with_parent() -> None:
    """Exits when the parent does: a killed parent cannot stop its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _silence_libjpeg() -> None:
    """Discards standard error, where libjpeg would interrupt the progress bar. The report lists damaged images."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)
    os.close(devnull)
