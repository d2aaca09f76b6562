"""Runs jobs in processes of their own, one on each core, until all have a result."""

import concurrent.futures
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import benchmarking
from tqdm import tqdm

from context_lab.job import Job
from hamgan.errors import FailedError, PreemptedError, UserError
from hamgan.program import EXIT_USER_ERROR


def results(jobs: Sequence[Job], script: str, processes: int) -> list[dict[str, Any]]:
    """Returns the result of each job. Those that exist are read; a job without one resumes its run.

    Args:
        jobs: jobs with different files.
        script: script that does a job, as ``script --job JSON``.
        processes: number of processes at a time.

    Raises:
        UserError: if there is a result of another job under the same name, or a process found an error for the user to
            fix.
        FailedError: if processes failed, after all others have ended.
        PreemptedError: after SIGTERM; training that was under way is saved.
    """
    found = {job.name: _existing(job) for job in jobs}
    queue = _Queue(script)
    missing = [job for job in jobs if found[job.name] is None]
    failed = []
    with (
        _sigterm_as_error(),
        concurrent.futures.ThreadPoolExecutor(processes) as threads,
        tqdm(total=len(jobs), initial=len(jobs) - len(missing), unit="run") as progress,
    ):
        futures = {threads.submit(queue.do, job): job for job in missing}
        try:
            for future in concurrent.futures.as_completed(futures):
                error = future.result()
                if error is not None:
                    failed.append(error)
                progress.update()
        except BaseException:
            for future in futures:
                future.cancel()
            queue.stop()
            raise
    if failed:
        raise FailedError(
            f"{len(failed)} of {len(jobs)} runs failed: {failed[0]}; run the same command again to resume"
        )
    return [benchmarking.read_json(job.result) for job in jobs]


@contextlib.contextmanager
def _sigterm_as_error() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise PreemptedError("stopped by SIGTERM")

    earlier = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


def _existing(job: Job) -> dict[str, Any] | None:
    if not os.path.exists(job.result):
        return None
    result = benchmarking.read_json(job.result)
    if result["job"] != job.identity():
        changed = [name for name, value in job.identity().items() if result["job"].get(name) != value]
        raise UserError(
            f"expected {job.result} to be of the same settings, found other {' and '.join(changed)}; choose another "
            "--folder, or delete the file and the run"
        )
    return result


def _last_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.strip() for line in file.read().splitlines() if line.strip()]
    return lines[-1] if lines else "no output"


class _Queue:
    """Processes that can be stopped together; SIGTERM makes training save its step."""

    def __init__(self, script: str) -> None:
        self._script = script
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    def do(self, job: Job) -> str | None:
        """Does a job; returns what failed, or None."""
        # Operations are so small that sharing one among threads costs CPU time and gains nothing.
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "TF_NUM_INTRAOP_THREADS": "1"}
        os.makedirs(os.path.dirname(job.log), exist_ok=True)
        with open(job.log, "wb") as log:
            with self._lock:
                if self._is_stopped:
                    return None
                # A session of its own: Ctrl-C ends this process, which then lets the others save.
                process = subprocess.Popen(
                    [sys.executable, self._script, "--job", job.to_json()],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
                self._running.add(process)
            code = process.wait()
        with self._lock:
            self._running.discard(process)
            is_stopped = self._is_stopped
        if code == EXIT_USER_ERROR and not is_stopped:
            raise UserError(_last_line(job.log).removeprefix(f"{os.path.basename(self._script)}: error: "))
        return f"{job.name} ended with exit code {code} ({_last_line(job.log)}, see {job.log})" if code else None

    def stop(self) -> None:
        """Ends all processes, and starts no more."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                process.terminate()
