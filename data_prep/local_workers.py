"""Doing independent pieces of work on all of this machine's cores, with progress."""

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
_progress: Any = None
"""In a worker: the counter that it shares with all others."""


def start_importing() -> None:
    """Starts the process that workers are forked from; it imports TensorFlow while the caller does something else."""
    multiprocessing.forkserver.set_forkserver_preload(["data_prep.worker_imports"])
    multiprocessing.forkserver.ensure_running()


class LocalWorkers:
    """A pool of processes; use it in a ``with`` statement.

    They are forked from a process that has imported TensorFlow and done nothing else: quick to start, and most of
    TensorFlow's memory is shared.

    Args:
        count: how many processes; None for one more than there are cores, because some wait for the disk.
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
            # Work in progress is of no use to anybody; what is complete is on the disk.
            for process in list((self._executor._processes or {}).values()):
                process.kill()
        self._executor.shutdown(cancel_futures=True)

    def run(
        self, function: Callable[..., Result], work: Sequence[tuple[Any, ...]], *, title: str, unit: str, total: int
    ) -> list[Result]:
        """Calls ``function(*item)`` for every item of ``work`` and returns the results in that order.

        Args:
            function: picklable; reports through :func:`advance`.
            work: arguments of each call, picklable.
            title, unit, total: texts and length of the progress bar.

        Raises:
            UserError: a process died, which is nearly always a lack of memory.
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
            except BrokenProcessPool as error:  # a worker may be killed while work is still being given out
                raise UserError(
                    f"one of {self.count} worker processes was killed, most likely for lack of memory; pass a "
                    "smaller --workers; the same command then resumes from what is written"
                ) from error
            return [future.result() for future in futures]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def advance(amount: int) -> None:
    """Reports progress; does nothing outside of a worker."""
    if _progress is not None:
        with _progress.get_lock():
            _progress.value += amount


def _start_worker(progress: Any) -> None:
    global _progress
    _progress = progress
    # Ctrl-C reaches every process of the terminal; the parent answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    _silence_libjpeg()

    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.set_visible_devices([], "GPU")


def _exit_with_parent() -> None:
    """A killed parent cannot tell its workers to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _silence_libjpeg() -> None:
    """It writes about each damaged image to standard error, in the middle of the progress bar; the report has them."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
