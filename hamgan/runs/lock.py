"""Lock of a run's folder, which admits a single trainer."""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import socket
import types

from hamgan.errors import UserError, reason_of
from hamgan.runs.directory import LOCK_NAME, RunDirectory

_logger = logging.getLogger(__name__)


class RunLock(contextlib.AbstractContextManager["RunLock"]):
    """Prevents other processes from training a run.

    The operating system releases the lock when its owner exits or is killed. The locked file in the run's folder names
    the owner. Buckets have no locks: a second trainer there is not detected.

    Args:
        run: run to lock.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._file: int | None = None

    def acquire(self) -> None:
        """Acquires the lock, and creates the run's folder if it is missing.

        Raises:
            UserError: if another process trains the run or the folder cannot be written.
        """
        if "://" in self._run.path:
            return
        path = os.path.join(self._run.path, LOCK_NAME)
        try:
            os.makedirs(self._run.path, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"{self._run.path} is being trained by {self._owner()}; wait until it ends, or stop it"
                ) from None
            except OSError as error:
                _logger.warning(
                    "Cannot lock %s (%s): do not start a second trainer on this run", path, reason_of(error)
                )
                return
            now = datetime.datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": now}
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{json.dumps(owner)}\n".encode(), 0)
        except OSError as error:
            raise UserError(f"cannot write the run folder {self._run.path}: {reason_of(error)}") from error

    def _owner(self) -> str:
        try:
            owner = json.loads(os.pread(self._file or 0, 4096, 0))
            return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
        except (OSError, ValueError, KeyError, TypeError):
            return "another process"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: types.TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
