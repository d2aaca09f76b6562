"""Shared parts of the benchmarks: machine description, memory, interleaved processes, summaries and files.

Run a benchmark as ``python scripts/benchmarks/NAME.py``; it imports this module from its own folder. Each variant is
measured in its own process, by a command that prints a JSON object as the last line of its standard output.
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
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from measuring import ProcessError, json_of_process
from measuring import positive as positive
from measuring import summary as summary
from measuring import table as table
from tqdm import tqdm

from hamgan.cli.options import check_output
from hamgan.errors import FailedError, UserError, reason_of
from hamgan.program import run_program

PACKAGES = ("tensorflow", "keras", "numpy")
KNOWN_BYTES = 2**26
"""Size of the result of the call that :func:`check_extra_memory` measures."""
PROCESS = "/proc/self"
_KIB = 1024


class BenchmarkError(FailedError):
    """A failed measurement; the message gives the reason in one line."""


def new_parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Returns a parser with the common options of the benchmarks.

    Args:
        description: docstring of the script.
        name: base name of the output files in ``docs/benchmarks/``.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = f"docs/benchmarks/{name}"
    parser.add_argument("--out", default=f"{default}.json", metavar="FILE", help=f"JSON file (default: {default}.json)")
    parser.add_argument(
        "--page",
        default=f"{default}.md",
        metavar="FILE",
        help=f"Markdown page; its figure has the same name (default: {default}.md)",
    )
    parser.add_argument("--redraw", action="store_true", help="write page and figure from an existing JSON file")
    return parser


def add_repeats(parser: argparse.ArgumentParser) -> None:
    """Adds ``--repeats``, the number of processes per variant."""
    parser.add_argument("--repeats", type=positive, default=5, metavar="N", help="processes per variant (default: 5)")


def environment() -> dict[str, Any]:
    """Returns the ``command`` of this process, a description of the ``device``, and package ``versions``."""
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
    """Returns the result of :func:`environment` as a Markdown list."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return f"- Command: `{results['command']}`\n- Device: {results['device']}\n- Versions: {versions}"


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
    """Reads a field in KiB of ``/proc/meminfo`` or ``/proc/self/status``."""
    for line in _lines(path):
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * _KIB
    return None


def total_memory_bytes() -> int:
    """Returns the size of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_memory_bytes() -> int:
    """Returns the memory available without swapping, or the total where the system does not report it."""
    return _proc_bytes("/proc/meminfo", "MemAvailable") or total_memory_bytes()


def peak_bytes(process: str = PROCESS) -> int:
    """Returns the peak resident memory since the start of the process, or since :func:`reset_peak`.

    Args:
        process: the process's folder in ``/proc``.
    """
    peak = _proc_bytes(f"{process}/status", "VmHWM")
    if peak is not None:
        return peak
    in_bytes = sys.platform == "darwin"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if in_bytes else _KIB)


def reset_peak(process: str = PROCESS) -> bool:
    """Resets the peak to the current resident memory; returns whether the system supports it.

    Args:
        process: the process's folder in ``/proc``.
    """
    try:
        with open(f"{process}/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return False
    return True


def extra_memory(function: Callable[[], Any]) -> dict[str, Any]:
    """Calls ``function`` and returns the peak growth of memory during the call, including its result.

    Uses the statistics of TensorFlow's allocator on the first device where they exist: on GPUs and on CPUs with oneDNN,
    whose allocator caches freed memory and so hides it from the process's resident memory. The allocator rounds
    allocations up to at most twice their size, and with oneDNN it does not count tensors below 256 KiB. Elsewhere uses
    resident memory, after freed memory was returned to the system.

    Returns:
        ``extra_bytes``, or None where memory cannot be measured (TPUs, systems that cannot reset the peak), and
        ``memory_of``, the source of the figure.
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
    """Checks :func:`extra_memory` with a call that needs a known amount of memory.

    Raises:
        BenchmarkError: if the measurement differs.
    """
    import tensorflow as tf

    tensor = tf.ones((KNOWN_BYTES // 4,))
    seconds(lambda: tensor + tensor)
    found = extra_memory(lambda: tensor + tensor)
    extra = found["extra_bytes"]
    # Other threads may free a little resident memory; an allocator rounds up to at most twice the size.
    if extra is not None and not 0.9 * KNOWN_BYTES <= extra <= 2.1 * KNOWN_BYTES:
        raise BenchmarkError(
            f"expected {found['memory_of']} to report 1 to 2 times the {KNOWN_BYTES:,} bytes of a known call, "
            f"found {extra:,}; memory cannot be measured on this machine"
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
        return  # not glibc


def seconds(function: Callable[[], Any]) -> float:
    """Calls ``function`` and returns the seconds until its tensors were computed."""
    import tensorflow as tf

    begun = time.perf_counter()
    result = function()
    tf.test.experimental.sync_devices()
    taken = time.perf_counter() - begun
    del result
    return taken


def interleaved(commands: Mapping[str, Sequence[str]], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Runs each command ``repeats`` times, in rounds of alternating order (A B C, C B A, ...).

    Drifts in the speed of the machine then affect all variants alike.

    Args:
        commands: commands by variant; each prints a JSON object as the last line of its standard output.
        repeats: number of rounds.

    Returns:
        The JSON objects of each variant, in the order of the rounds.

    Raises:
        BenchmarkError: if a command fails or prints no JSON object.
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
    try:
        return json_of_process(name, command)
    except ProcessError as error:
        raise BenchmarkError(str(error)) from error


def write_json(path: str, results: Mapping[str, Any]) -> None:
    """Writes results as JSON atomically, and creates the parent folders."""
    write_text(path, json.dumps(results, indent=1) + "\n")


def write_text(path: str, text: str) -> None:
    """Writes text atomically, and creates the parent folders."""
    # Not at the top: the time that TensorFlow takes to import is measured elsewhere.
    from hamgan.files import write_atomically

    write_atomically(path, text.encode())


def draw_bars(values: Mapping[str, float], label: str, size: tuple[float, float], path: str) -> None:
    """Draws a horizontal bar for each value, the first on top.

    Args:
        values: lengths of the bars by name; names may have Markdown's backquotes.
        label: label of the axis.
        size: width and height in inches.
        path: path of the figure.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.barh([name.replace("`", "") for name in reversed(values)], list(reversed(values.values())))
    axes.set_xlabel(label)
    figure.savefig(path)
    plt.close(figure)


def publish(
    results: Mapping[str, Any],
    path: str,
    page: Callable[[Mapping[str, Any], str], str],
    draw: Callable[[Mapping[str, Any], str], None],
) -> str:
    """Writes the page and its figure; returns the page.

    Args:
        results: results of the benchmark.
        path: path of the page; the figure has the same name with the extension ``.png``.
        page: function of the results and the name of the figure that returns Markdown.
        draw: function of the results and the path of the figure that draws it.
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
        measure: function that returns the results; the JSON also holds those of :func:`environment`.
        page: see :func:`publish`.
        draw: see :func:`publish`.

    Raises:
        UserError: if settings are invalid or the results cannot be written.
        BenchmarkError: if a measurement fails.
    """
    if arguments.redraw:
        results = read_json(arguments.out)
    else:
        for option, path in (("--out", arguments.out), ("--page", arguments.page)):
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
            check_output(option, path)
        measured = measure()
        results = {**environment(), **measured}
        write_json(arguments.out, results)
    print(publish(results, arguments.page, page, draw))


def run_script(main: Callable[[], None]) -> NoReturn:
    """Runs the main function of a script and exits; see :func:`hamgan.program.run_program`."""
    run_program(os.path.basename(sys.argv[0]), lambda _: main())


def read_json(path: str) -> dict[str, Any]:
    """Reads results.

    Raises:
        UserError: if the file cannot be read or is not JSON.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except OSError as error:
        raise UserError(f"expected results in {reason_of(error)}; run the benchmark without --redraw") from error
    except ValueError as error:  # invalid JSON or UTF-8
        raise UserError(f"expected JSON in {path}: {error}; run the benchmark again") from error
