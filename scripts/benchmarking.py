"""What the benchmarks share: the machine, memory, variants in processes that take turns, medians, files.

A benchmark is run as ``python scripts/bench_NAME.py`` and imports this from its own folder. Each variant is measured in
a process of its own, by a command that prints one JSON object as the last line of its standard output.
"""

import argparse
import ctypes
import gc
import importlib.metadata
import json
import os
import platform
import resource
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from tqdm import tqdm

from hamgan.cli.options import check_output
from hamgan.errors import FailedError, UserError, reason_of
from hamgan.program import run_program

PACKAGES = ("tensorflow", "keras", "numpy")
TAIL_LINES = 3
KNOWN_BYTES = 2**26
"""Result of the call that :func:`check_extra_memory` measures."""
PROCESS = "/proc/self"
_KIB = 1024


class BenchmarkError(FailedError):
    """What could not be measured and why, in one line."""


def new_parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Returns a parser with the options of every benchmark: where results go, and only to draw them again.

    Args:
        description: the script's docstring.
        name: of its files under ``docs/benchmarks/``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = f"docs/benchmarks/{name}"
    parser.add_argument("--out", default=f"{default}.json", metavar="FILE", help=f"JSON (default: {default}.json)")
    parser.add_argument(
        "--page", default=f"{default}.md", metavar="FILE", help=f"page, its figure beside it (default: {default}.md)"
    )
    parser.add_argument("--redraw", action="store_true", help="only page and figure, from the JSON that is there")
    return parser


def positive(text: str) -> int:
    """Returns the whole number that an option names, 1 or more; for argparse, which reports the ``ValueError``."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, found {text}")
    return number


def add_repeats(parser: argparse.ArgumentParser) -> None:
    """Adds the option that says how many processes measure each variant."""
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="processes a variant (default: 5)")


def environment() -> dict[str, Any]:
    """Returns the ``command`` of this process, its ``device``, a line of text each, and ``versions`` by name."""
    import tensorflow as tf

    parts = [f"{_cpu_model()}, {len(_cores())} cores", f"{total_memory_bytes() / 1e9:.0f} GB of memory"]
    for kind in ("GPU", "TPU"):
        devices = tf.config.list_physical_devices(kind)
        if devices:
            names = {tf.config.experimental.get_device_details(device).get("device_name", kind) for device in devices}
            parts.append(f"{len(devices)} x {', '.join(sorted(names))}")
    versions = {"python": platform.python_version()}
    versions.update((name, importlib.metadata.version(name)) for name in PACKAGES)
    command = shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]])
    return {"command": command, "device": "; ".join(parts), "versions": versions}


def provenance(results: Mapping[str, Any]) -> str:
    """Returns what :func:`environment` found, as a sentence in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"`{results['command']}`, on {results['device']}; {versions}."


def _cpu_model() -> str:
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _lines(path: str) -> list[str]:
    try:
        with open(path) as file:
            return file.read().splitlines()
    except OSError:
        return []


def _proc_bytes(path: str, field: str) -> int | None:
    """A field of ``/proc/meminfo`` or ``/proc/self/status``, given there in KiB."""
    for line in _lines(path):
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    return None


def total_memory_bytes() -> int:
    """Returns the size of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory_bytes() -> int:
    """Returns how much memory a new process can have without swapping; all that there is, where that is not told."""
    return _proc_bytes("/proc/meminfo", "MemAvailable") or total_memory_bytes()


def peak_bytes(process: str = PROCESS) -> int:
    """Returns the most memory that was resident since this process began, or since :func:`reset_peak`.

    Args:
        process: folder in which Linux describes this process.
    """
    peak = _proc_bytes(f"{process}/status", "VmHWM")
    if peak is not None:
        return peak
    in_bytes = sys.platform == "darwin"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if in_bytes else _KIB)


def reset_peak(process: str = PROCESS) -> bool:
    """Sets the peak to what is resident now; returns whether this system can.

    Args:
        process: folder in which Linux describes this process.
    """
    try:
        with open(f"{process}/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def extra_memory(function: Callable[[], Any]) -> dict[str, Any]:
    """Calls ``function`` and returns by how much memory grew at most meanwhile, its result included.

    Where TensorFlow's allocator counts (on GPUs, and on CPUs with oneDNN, where it keeps freed memory to itself, so
    that the process's memory tells nothing), of what it gave out on the first device, in pieces of up to twice what was
    asked for, and with oneDNN without tensors of less than 256 KiB. Elsewhere of what was resident; memory that was
    freed is returned to the system first, lest the call find it there.

    Returns:
        ``extra_bytes``, None where nothing tells (on a TPU, or where no peak can be reset), and ``memory_of``, whose.
    """
    import tensorflow as tf

    gc.collect()
    if tf.config.list_physical_devices("TPU"):
        seconds(function)
        return {"extra_bytes": None, "memory_of": "nothing"}
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    try:
        tf.config.experimental.reset_memory_stats(device)
        before = tf.config.experimental.get_memory_info(device)["current"]
    except ValueError:
        return _extra_resident_memory(function)
    seconds(function)
    peak = tf.config.experimental.get_memory_info(device)["peak"]
    return {"extra_bytes": peak - before, "memory_of": f"TensorFlow's allocator, {device}"}


def check_extra_memory() -> None:
    """Measures a call whose memory is known.

    Raises:
        BenchmarkError: :func:`extra_memory` does not see it here.
    """
    import tensorflow as tf

    tensor = tf.ones((KNOWN_BYTES // 4,))
    seconds(lambda: tensor + tensor)
    found = extra_memory(lambda: tensor + tensor)
    extra = found["extra_bytes"]
    # Resident memory shrinks a little when something else is freed; an allocator gives out up to twice the size.
    if extra is not None and not 0.9 * KNOWN_BYTES <= extra <= 2.1 * KNOWN_BYTES:
        raise BenchmarkError(
            f"expected a call that needs {KNOWN_BYTES:,} bytes to need up to twice that of {found['memory_of']}, "
            f"found {extra:,}; memory cannot be measured here"
        )


def _extra_resident_memory(function: Callable[[], Any]) -> dict[str, Any]:
    _return_free_memory()
    can_tell = reset_peak()
    before = peak_bytes()
    seconds(function)
    return {"extra_bytes": peak_bytes() - before if can_tell else None, "memory_of": "the process"}


def _return_free_memory() -> None:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library than glibc


def seconds(function: Callable[[], Any]) -> float:
    """Calls ``function`` and returns how long it took until its tensors were there."""
    import tensorflow as tf

    begun = time.perf_counter()
    result = function()
    tf.test.experimental.sync_devices()
    taken = time.perf_counter() - begun
    del result
    return taken


def interleaved(commands: Mapping[str, Sequence[str]], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Runs each command so many times, in rounds that go there and back (A B C, C B A, ...).

    A machine that gets slower or faster meanwhile then does so for all variants alike.

    Args:
        commands: by variant; each prints one JSON object as the last line of its standard output.
        repeats: rounds.

    Returns:
        The objects of each variant, in the order of the rounds.

    Raises:
        BenchmarkError: a command failed or printed something else.
    """
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in commands}
    with tqdm(total=repeats * len(commands), file=sys.stderr, unit="run") as progress:
        for turn in range(repeats):
            for name in list(commands)[:: -1 if turn % 2 else 1]:
                progress.set_description(name)
                results[name].append(_run(name, commands[name]))
                progress.update()
    return results


def _run(name: str, command: Sequence[str]) -> dict[str, Any]:
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    # Bytes that are no text, in what a library writes when it crashes, must not hide the crash.
    process = subprocess.run(command, capture_output=True, text=True, errors="replace", env=quiet, check=False)
    if process.returncode:
        how = f"exit code {process.returncode}"
        if process.returncode < 0:
            how = f"signal {-process.returncode}" + (", as if memory had run out" if process.returncode == -9 else "")
        raise BenchmarkError(f"{name} ended with {how}: {_tail(process.stderr)}")
    lines = process.stdout.splitlines()
    try:
        result = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        result = None
    if not isinstance(result, dict):
        found = repr(lines[-1]) if lines else "nothing"
        raise BenchmarkError(f"expected {name} to print a JSON object in its last line, found {found}")
    return result


def _tail(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(lines[-TAIL_LINES:]) or "nothing on standard error"


def summary(values: Sequence[float]) -> dict[str, float]:
    """Returns ``median``, ``min``, ``max`` and ``n`` of measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "n": len(values)}


def write_json(path: str, results: Mapping[str, Any]) -> None:
    """Writes results as JSON, whole or not at all, and the folders above."""
    write_text(path, json.dumps(results, indent=1) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes text, whole or not at all, and the folders above."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    temporary = f"{path}.tmp"
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)


def publish(
    results: Mapping[str, Any],
    path: str,
    page: Callable[[Mapping[str, Any], str], str],
    draw: Callable[[Mapping[str, Any], str], None],
) -> str:
    """Writes the page of results, and its figure beside it; returns the page.

    Args:
        results: what was measured.
        path: where the page goes.
        page: of results and the figure's name, to Markdown.
        draw: of results and the figure's path.
    """
    figure = f"{os.path.splitext(path)[0]}.png"
    text = page(results, os.path.basename(figure))
    write_text(path, text)
    draw(results, figure)
    return text


def run(
    arguments: argparse.Namespace,
    measure: Callable[[], Mapping[str, Any]],
    page: Callable[[Mapping[str, Any], str], str],
    draw: Callable[[Mapping[str, Any], str], None],
) -> None:
    """Measures, writes JSON, page and figure, and prints the page.

    Args:
        arguments: options of :func:`new_parser`.
        measure: function that returns what was measured; :func:`environment` is put before it.
        page: see :func:`publish`.
        draw: see there.

    Raises:
        UserError: settings are not understood, or the results could not be written.
        BenchmarkError: a variant cannot be measured.
    """
    if arguments.redraw:
        results = _read_json(arguments.out)
    else:
        for option, path in (("--out", arguments.out), ("--page", arguments.page)):
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            check_output(option, path)
        measured = measure()
        results = {**environment(), **measured}
        write_json(arguments.out, results)
    print(publish(results, arguments.page, page, draw))


def run_script(main: Callable[[], None]) -> NoReturn:
    """Runs a script's main function and exits; see :func:`hamgan.program.run_program`."""
    run_program(os.path.basename(sys.argv[0]), lambda _: main())


def _read_json(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"expected the results to draw at {reason_of(error)}; measure first") from error
    except ValueError as error:  # no JSON, or no text
        raise UserError(f"expected results as JSON at {path}: {error}; measure again") from error
