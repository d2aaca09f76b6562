"""The TPU's own compiler, run beside this process; what it found out is kept."""

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

from hamgan.errors import FailedError, UserError, reason_of
from hamgan.tpu_check.chips import Topology

_logger = logging.getLogger(__name__)

PACKAGES = ("jax", "libtpu")
POLL_SECONDS = 1.0
LINE_SECONDS = 30.0
"""Between two lines of progress where there is no terminal."""


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What the compiler says of one core's program; sizes in bytes, per step."""

    seconds: float
    """How long it compiled."""
    argument_bytes: int = 0
    output_bytes: int = 0
    aliased_bytes: int = 0
    """Of the outputs, what replaces arguments in place."""
    temporary_bytes: int = 0
    code_bytes: int = 0
    flops: float = 0.0
    bytes_accessed: float = 0.0
    error: str | None = None
    """Why it does not compile."""

    @property
    def is_too_large(self) -> bool:
        """Whether the compiler found that it does not fit into HBM."""
        return self.error is not None and "RESOURCE_EXHAUSTED" in self.error

    @property
    def memory(self) -> int:
        """Bytes of HBM that a step takes."""
        return self.argument_bytes + self.output_bytes - self.aliased_bytes + self.temporary_bytes + self.code_bytes


def check_installed() -> None:
    """Raises a UserError unless the compiler is there."""
    missing = [package for package in PACKAGES if _version(package) is None]
    if missing:
        raise UserError(f"tpu-check needs {' and '.join(missing)}: pip install 'hamgan[tpu-check]' (Linux, x86-64)")


def compile_for_tpu(stablehlo: str, topology: Topology, label: str) -> tuple[Compiled, bool]:
    """Compiles a program for one core of a slice, with progress on standard error.

    Args:
        stablehlo: the program.
        topology: the slice.
        label: what the progress says is being compiled.

    Returns:
        What was found out, and whether it was known from before: results are kept in ``cache_folder()``, by program,
        slice and versions.

    Raises:
        FailedError: the compiler's process died.
    """
    versions = [f"{package}=={_version(package)}" for package in PACKAGES]
    key = hashlib.sha256("\n".join([*versions, topology.name, stablehlo]).encode()).hexdigest()
    path = os.path.join(cache_folder(), f"{key}.json")
    known = _read(path)
    if known is not None:
        return known, True
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        source, result = os.path.join(folder, "step.mlir"), os.path.join(folder, "result.json")
        with open(source, "w", encoding="utf-8") as file:
            file.write(stablehlo)
        found = _compile(source, topology, result, label)
    compiled = Compiled(seconds=time.monotonic() - begun, **found)
    if compiled.error is not None and not compiled.is_too_large:
        return compiled, False  # Soon found again, and perhaps not the program's fault.
    try:
        _write(path, compiled)
    except OSError as error:
        _logger.warning("Cannot keep what the compiler found (%s); it will be asked again", reason_of(error))
    return compiled, False


def _read(path: str) -> Compiled | None:
    try:
        with open(path, encoding="utf-8") as file:
            return Compiled(**json.load(file))
    except (OSError, ValueError, TypeError):
        return None  # It is found out again.


def _write(path: str, compiled: Compiled) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(compiled), file, indent=1)
    os.replace(temporary, path)


def cache_folder() -> str:
    """Where results are kept: ``$XDG_CACHE_HOME/hamgan/tpu_check``, by default below ``~/.cache``."""
    return os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "hamgan", "tpu_check")


def _compile(source: str, topology: Topology, result: str, label: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "hamgan.tpu_check.compile_stablehlo", source, topology.name, result]
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            _show_progress_until_it_ends(process, label)
        finally:
            process.kill()
            process.wait()
        if not os.path.exists(result):
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise FailedError(f"the TPU compiler ended with code {process.returncode}: {last[0]}")
    with open(result, encoding="utf-8") as file:
        return json.load(file)


def _show_progress_until_it_ends(process: subprocess.Popen, label: str) -> None:
    interval = 0.5 if sys.stderr.isatty() else LINE_SECONDS
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
