"""Runs the TPU compiler in a separate process and caches its results."""

import dataclasses
import hashlib
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from tqdm import tqdm

from hamgan.errors import FailedError, UserError, is_of_the_environment, reason_of
from hamgan.tpu_check.chips import Topology

_logger = logging.getLogger(__name__)

PACKAGES = ("jax", "libtpu")
SOURCE = "step.mlir"
POLL_SECONDS = 1.0
LOG_SECONDS = 30.0
"""Interval between progress lines if standard error is not a terminal."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """Compiler statistics of the program that one core runs for each step.

    Args:
        seconds: time that compilation took, in seconds.
        argument_bytes: size of the arguments in bytes.
        output_bytes: size of the outputs in bytes.
        aliased_bytes: size of the outputs that replace arguments in place, in bytes.
        temporary_bytes: size of the temporaries in bytes.
        code_bytes: size of the program in bytes.
        flops: number of floating-point operations.
        hbm_bytes: number of bytes read from and written to HBM, at least.
        error: error message if the program does not compile, or None.
    """

    seconds: float
    argument_bytes: int = 0
    output_bytes: int = 0
    aliased_bytes: int = 0
    temporary_bytes: int = 0
    code_bytes: int = 0
    flops: float = 0.0
    hbm_bytes: int = 0
    error: str | None = None

    @property
    def is_too_large(self) -> bool:
        """Whether compilation failed because the program does not fit into HBM."""
        return self.error is not None and "RESOURCE_EXHAUSTED" in self.error

    @property
    def memory(self) -> int:
        """HBM that a step uses, in bytes."""
        return self.argument_bytes + self.output_bytes - self.aliased_bytes + self.temporary_bytes + self.code_bytes


def check_installed() -> None:
    """Checks that the compiler is installed.

    Raises:
        UserError: a package is missing.
    """
    missing = [package for package in PACKAGES if _version(package) is None]
    if missing:
        raise UserError(f"tpu-check needs {' and '.join(missing)}: pip install 'hamgan[tpu-check]' (Linux, x86-64)")


def compile_for_tpu(stablehlo: str, topology: Topology, label: str) -> tuple[Compiled, bool]:
    """Compiles a program for one core of a slice, with progress on standard error.

    Results are cached in :func:`cache_folder`, keyed by program, slice and compiler version. Of errors, only those for
    lack of memory are cached.

    Args:
        stablehlo: text of the program.
        topology: slice to compile for.
        label: label of the progress bar.

    Returns:
        The statistics, and whether they come from the cache.

    Raises:
        FailedError: the compiler crashed.
    """
    versions = [f"{package}=={_version(package)}" for package in PACKAGES]
    key = hashlib.sha256("\n".join([*versions, topology.name, stablehlo]).encode()).hexdigest()
    path = os.path.join(cache_folder(), f"{key}.json")
    cached = _read_cached(path)
    if cached is not None:
        return cached, True
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, SOURCE), "w", encoding="utf-8") as file:
            file.write(stablehlo)
        statistics = _compile(folder, topology, label)
    compiled = Compiled(seconds=time.monotonic() - start, **statistics)
    if compiled.error is not None and not compiled.is_too_large:
        return compiled, False  # Quick to reproduce, and perhaps caused by the environment.
    from hamgan.files import write_atomically  # imports TensorFlow, which check_installed() does not need

    try:
        write_atomically(path, json.dumps(dataclasses.asdict(compiled), indent=1).encode())
    except Exception as error:
        if not is_of_the_environment(error):
            raise
        _logger.warning("Cannot cache the compiler's result: %s", reason_of(error))
    return compiled, False


def _read_cached(path: str) -> Compiled | None:
    """Returns a result from the cache, or None if it is missing or damaged."""
    try:
        with open(path, encoding="utf-8") as file:
            return Compiled(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None


def cache_folder() -> str:
    """Returns the cache folder: ``hamgan/tpu_check`` in ``$XDG_CACHE_HOME``, which defaults to ``~/.cache``."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "hamgan", "tpu_check")


def _compile(folder: str, topology: Topology, label: str) -> dict[str, Any]:
    """Compiles the program in a folder; returns statistics, or the error, by field of :class:`Compiled`."""
    source, result, program = (os.path.join(folder, name) for name in (SOURCE, "result.json", "program.pb"))
    command = [sys.executable, "-m", "hamgan.tpu_check.compile_stablehlo", source, topology.name, result, program]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _wait_with_progress(process, label)
        finally:
            process.kill()
            process.wait()
        if not os.path.exists(result):
            output.seek(0)
            last = output.read().decode(errors="replace").strip().splitlines()[-1:] or ["no output"]
            raise FailedError(f"the TPU compiler exited with code {process.returncode}: {last[0]}")
    with open(result, encoding="utf-8") as file:
        statistics = json.load(file)
    if "error" not in statistics:
        from hamgan.tpu_check.hbm_traffic import hbm_bytes, read_program  # imports TensorFlow

        statistics["hbm_bytes"] = hbm_bytes(read_program(program))
    return statistics


def _wait_with_progress(process: subprocess.Popen, label: str) -> None:
    interval = 0.5 if sys.stderr.isatty() else LOG_SECONDS
    with tqdm(desc=label, bar_format="{desc}: {elapsed}", mininterval=interval) as progress:
        while True:
            try:
                process.wait(POLL_SECONDS)
                return
            except subprocess.TimeoutExpired:
                progress.update()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
