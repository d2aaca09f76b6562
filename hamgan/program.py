"""Start and end of a program: a quiet import of TensorFlow, exit codes, one line for each error."""

import errno
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from hamgan.errors import FailedError, PreemptedError, UserError, is_of_the_environment, reason_of

EXIT_FAILED = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

EXIT_PREEMPTED = 75
"""EX_TEMPFAIL of sysexits.h: run the same command again."""

EXIT_READER_GONE = 141
"""Exit code of a program whose output nobody reads any more, as with ``| head``."""


def import_tensorflow_quietly(*, start: bool = True) -> None:
    """Imports TensorFlow without the messages that it writes to standard error; an import that fails shows them.

    TensorFlow 2.21 logs its instruction sets and missing GPU libraries from C++, whatever its log level, when it is
    imported and when it first looks for devices. The training loop logs its devices itself.

    Args:
        start: whether to look for devices too, which starts threads that do not survive a fork.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # tensorflow-hub 0.16 imports it; pyproject.toml pins a version of setuptools that has it.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            import tensorflow as tf

            if start:
                tf.config.list_physical_devices()
        except BaseException:
            aside.seek(0)
            os.write(stderr, aside.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def exit_code_of(name: str, work: Callable[[], int | None]) -> int:
    """Runs the work of a program and returns its exit code; an error is one line on standard error.

    Args:
        name: name of the program, which begins that line.
        work: function that does the work and may return an exit code.

    Returns:
        The result of ``work`` or 0; on an error, 1 (failed), 2 (something for the user to fix), 75 (preempted: run it
        again), 130 (interrupted) or 141 (nobody reads the output). Exceptions that show a bug are not caught.
    """
    try:
        return work() or 0
    except UserError as error:
        return _end(f"{name}: error: {error}", EXIT_USER_ERROR)
    except FailedError as error:
        return _end(f"{name}: failed: {error}", EXIT_FAILED)
    except PreemptedError as error:
        return _end(f"{name}: {error}; run the same command again to resume", EXIT_PREEMPTED)
    except KeyboardInterrupt:
        return _end(f"{name}: interrupted; run the same command again to resume", EXIT_INTERRUPTED)
    except _OutputRefusedError as error:
        return _end_without_output(name, error)
    except Exception as error:
        if not is_of_the_environment(error):
            raise
        return _end(f"{name}: error: {reason_of(error)}", EXIT_USER_ERROR)


def run_program(name: str, main: Callable[[list[str]], int | None]) -> NoReturn:
    """Runs the main function of a program with the arguments of the command line, and exits.

    Characters that standard output and standard error cannot encode are escaped. Output that cannot be written, because
    the disk is full or nobody reads the pipe, is noticed here; the interpreter would print a traceback.

    Args:
        name: name of the program, which begins its error messages.
        main: function that maps the arguments to an exit code.
    """
    _prepare_output()
    arguments = sys.argv[1:]
    for argument in arguments:
        if not argument or any("\ud800" <= character <= "\udfff" for character in argument):
            found = "an empty one" if not argument else ascii(argument)
            sys.exit(_end(f"{name}: error: expected arguments that are text, found {found}", EXIT_USER_ERROR))
    try:
        code = exit_code_of(name, lambda: main(arguments))
    except SystemExit as stop:  # of argparse
        code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else _end(stop.code, EXIT_FAILED)
    try:
        sys.stdout.flush()
    except _OutputRefusedError as error:
        code = code or _end_without_output(name, error)
    sys.exit(code)


class _OutputRefusedError(OSError):
    """Standard output cannot be written."""


class _Output(io.FileIO):
    """Standard output whose errors can be told from those of other files.

    Raises the first error only: Python writes what is left in the buffers again when it closes them.
    """

    _is_refused = False

    def write(self, data: Any) -> int:
        if self._is_refused:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except OSError as error:
            self._is_refused = True
            raise _OutputRefusedError(error.errno, error.strerror) from error


class _Messages(io.FileIO):
    """Standard error that drops what cannot be written: work does not fail because its progress cannot be shown."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _prepare_output() -> None:
    for name, kind in (("stdout", _Output), ("stderr", _Messages)):
        stream = getattr(sys, name)
        if stream is None:  # closed by the caller
            setattr(sys, name, _nowhere())
            continue
        try:
            raw = kind(stream.fileno(), "w", closefd=False)
        except OSError:  # a stream in memory
            continue
        prepared = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors="backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, name, prepared)


def _end_without_output(name: str, error: OSError) -> int:
    sys.stdout = _nowhere()
    if error.errno == errno.EPIPE:
        return EXIT_READER_GONE
    return _end(f"{name}: error: cannot write standard output: {error.strerror}", EXIT_FAILED)


def _nowhere() -> TextIO:
    return open(os.devnull, "w")


def _end(text: object, code: int) -> int:
    line = str(text).replace("\n", "\\n")  # A path may have line breaks.
    print(line, file=sys.stderr, flush=True)
    return code
