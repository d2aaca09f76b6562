"""How fast is a training step on a GPU, and which share of its peak does it reach?

  python scripts/benchmarks/gpu_export.py build/gpu    # on a machine with TensorFlow
  python scripts/benchmarks/gpu.py build/gpu           # on the machine with the GPU

Compiles the exported steps with JAX and runs them: images/s, share of the device's peak, memory and compilation. Each
step has its own process, one after the other, which compiles it once and measures several rounds of steps without a
pause. The weights are random, with the mean and standard deviation of the initial ones, and are updated in place by
each step, as in training. The peak is that of a matrix product on the same device, unless --peak-float32 or
--peak-bfloat16 gives one in TFLOP/s. On GPUs, XLA's float32 products and convolutions may round to
TensorFloat-32.

With --torch, also measures the same step of BigGAN in PyTorch, see torch_biggan.py, in both memory formats. PyTorch
counts its FLOP, those of convolutions and matrix products, in a step.

Needs jax with its plugin for the GPU, but neither TensorFlow nor hamgan. Writes JSON, again after each variant, and
prints a table. Run it on an otherwise idle machine.
"""

import argparse
import glob
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import measuring
import numpy as np

PEAK_CALLS = 10
TIMING = ("warmup", "rounds", "steps")
SEED = 0
MEMORY_FORMATS = ("default", "channels_last")
ATTENTION_RESOLUTIONS = (8, 16, 32, 64)


class CompiledStep:
    """An exported training step, compiled for a device.

    Args:
        path: path of its description, NAME.json.
        device: device of JAX.
    """

    def __init__(self, path: str, device: Any) -> None:
        # JAX has no public function that compiles StableHLO.
        import jax
        from jax._src import compiler
        from jax._src.interpreters import mlir
        from jaxlib import xla_client
        from jaxlib.mlir.dialects import stablehlo

        jax.config.update("jax_enable_x64", True)  # Step counters are int64.
        self.description = read_description(path)
        self.device = device
        options = compiler.get_compile_options(
            num_replicas=1, num_partitions=1, device_assignment=np.array([[device]]), backend=device.client
        )
        with open(artifact_of(path), "rb") as file, mlir.make_ir_context() as context:
            module = stablehlo.deserialize_portable_artifact(context, file.read())
            begun = time.perf_counter()
            self._executable = device.client.compile_and_load(module, xla_client.DeviceList((device,)), options)
            self.seconds_compiling = time.perf_counter() - begun
        self._replaced_by = {
            index: argument["replaced_by"]
            for index, argument in enumerate(self.description["arguments"])
            if "replaced_by" in argument
        }

    def put(self, arguments: Sequence[np.ndarray]) -> list[Any]:
        """Returns arguments on the device."""
        import jax

        return [jax.device_put(argument, self.device) for argument in arguments]

    def __call__(self, arguments: list[Any]) -> tuple[list[Any], list[Any]]:
        """Starts a step, which takes over the memory of the variables among its arguments.

        Args:
            arguments: arguments on the device.

        Returns:
            Arguments of the next step, and metrics of this one.
        """
        outputs = self._executable.execute_sharded(arguments)
        results = [arrays[0] for arrays in outputs.disassemble_into_single_device_arrays()]
        following = list(arguments)
        for argument, result in self._replaced_by.items():
            following[argument] = results[result]
        return following, results[: min(self._replaced_by.values(), default=len(results))]

    def memory(self) -> dict[str, int | None]:
        """Returns the bytes that the program needs by the compiler's account, and the device's peak where known."""
        needed = self._executable.get_compiled_memory_stats()
        return {
            "program_bytes": needed.argument_size_in_bytes
            + needed.output_size_in_bytes
            - needed.alias_size_in_bytes
            + needed.temp_size_in_bytes,
            "peak_bytes": (self.device.memory_stats() or {}).get("peak_bytes_in_use"),
        }


def artifact_of(path: str) -> str:
    """Returns the path of the StableHLO that belongs to a description."""
    return f"{os.path.splitext(path)[0]}.stablehlo"


def read_description(path: str) -> dict[str, Any]:
    """Reads the description of an exported step.

    Raises:
        measuring.UsageError: if it cannot be read, or is no description.
    """
    try:
        with open(path, encoding="utf-8") as file:
            description = json.load(file)
    except (OSError, ValueError) as error:
        raise measuring.UsageError(
            f"expected the description of a step in {path}: {error}; run gpu_export.py again"
        ) from error
    if not isinstance(description, dict) or "arguments" not in description:
        raise measuring.UsageError(
            f"expected the description of a step in {path}, found other JSON; run gpu_export.py again"
        )
    return description


def random_arguments(description: Mapping[str, Any]) -> list[np.ndarray]:
    """Draws arguments as the description says: constants, images, labels and weights."""
    generator = np.random.default_rng(SEED)

    def draw(shape: Sequence[int], values: Mapping[str, Any]) -> Any:
        match values:
            case {"constant": value}:
                return np.broadcast_to(value, shape)
            case {"uniform": [low, high]}:
                return generator.uniform(low, high, shape)
            case {"integers_below": end}:
                return generator.integers(0, end, shape)
            case {"normal": [mean, deviation]}:
                return mean + deviation * generator.standard_normal(shape, np.float32)
        raise measuring.UsageError(
            f"expected a kind of values, found {dict(values)}; use gpu_export.py of the same version"
        )

    return [
        np.asarray(draw(argument["shape"], argument["values"]), argument["dtype"])
        for argument in description["arguments"]
    ]


def measure_step(path: str, *, warmup: int, rounds: int, steps: int) -> dict[str, Any]:
    """Measures an exported step in this process."""
    import jax

    step = CompiledStep(path, jax.devices()[0])
    arguments = step.put(random_arguments(step.description))
    metrics: list[Any] = []

    def take_step() -> None:
        nonlocal arguments, metrics
        arguments, metrics = step(arguments)

    def wait() -> None:
        jax.block_until_ready((arguments, metrics))

    begun = time.perf_counter()
    for _ in range(warmup):
        take_step()
    wait()
    seconds_warming_up = time.perf_counter() - begun
    seconds = measuring.seconds_per_step(take_step, wait, rounds=rounds, steps=steps)
    if not all(np.isfinite(metric).all() for metric in metrics):
        raise measuring.FailedError(f"metrics are not finite after {warmup + rounds * steps} steps")
    batch = step.description["batch"]
    return {
        "images_per_second": measuring.summary([batch / taken for taken in seconds]),
        "seconds_compiling": step.seconds_compiling,
        "seconds_warming_up": seconds_warming_up,
        **step.memory(),
    }


def measure_device(*, side: int) -> dict[str, Any]:
    """Returns the device's name, and its rates in a product of square matrices in FLOP/s."""
    import jax
    import jax.numpy as jnp

    device = jax.devices()[0]
    multiply = jax.jit(lambda one, other: one @ other)
    rates = {}
    for precision, dtype in zip(measuring.PRECISIONS, (jnp.float32, jnp.bfloat16), strict=True):
        one, other = (jax.random.normal(jax.random.key(seed), (side, side), dtype) for seed in range(2))
        jax.block_until_ready(multiply(one, other))
        seconds = measuring.seconds_per_step(
            lambda one=one, other=other: jax.block_until_ready(multiply(one, other)),  # type: ignore[misc]
            lambda: None,
            rounds=PEAK_CALLS,
            steps=1,
        )
        rates[precision] = 2 * side**3 / statistics.median(seconds)
    return {"device": f"{device.device_kind} ({device.platform})", "matmul_flops": rates}


def measure_torch(
    *,
    batch: int,
    precision: str,
    memory_format: str,
    base_channels: int,
    attention_resolution: int,
    warmup: int,
    rounds: int,
    steps: int,
) -> dict[str, Any]:
    """Measures the step of BigGAN in this process."""
    import torch
    import torch_biggan

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # As in XLA, where float32 products and convolutions on GPUs may round to TensorFloat-32.
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    step = torch_biggan.TrainingStep(
        base_channels=base_channels,
        attention_resolution=attention_resolution,
        batch=batch,
        precision=precision,
        device=device,
        channels_last=memory_format == "channels_last",
    )
    losses: tuple[Any, ...] = ()

    def take_step() -> None:
        nonlocal losses
        losses = step()

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    begun = time.perf_counter()
    flops = torch_biggan.count_flops(step)
    for _ in range(warmup - 1):
        take_step()
    wait()
    seconds_warming_up = time.perf_counter() - begun
    seconds = measuring.seconds_per_step(take_step, wait, rounds=rounds, steps=steps)
    if not all(math.isfinite(loss) for loss in losses):
        raise measuring.FailedError(f"losses are not finite after {warmup + rounds * steps} steps")
    return {
        "images_per_second": measuring.summary([batch / taken for taken in seconds]),
        "flop_per_image": flops,
        "flop_per_image_as_written": flops,
        "seconds_compiling": 0.0,
        "seconds_warming_up": seconds_warming_up,
        "program_bytes": None,
        "peak_bytes": torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
    }


MEASUREMENTS: dict[str, Callable[..., dict[str, Any]]] = {
    "step": measure_step,
    "device": measure_device,
    "torch": measure_torch,
}


def measure_all(arguments: argparse.Namespace, save: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Measures the device and all variants, each in its own process; returns the results.

    Args:
        arguments: options of the command line.
        save: function that takes the results so far, after each variant.
    """
    variants, questions = plan(arguments)

    def measured(name: str, question: Mapping[str, Any]) -> dict[str, Any]:
        command = [sys.executable, os.path.abspath(__file__), arguments.folder, "--measure", json.dumps(question)]
        return measuring.json_of_process(name, command)

    device = measured("device", {"what": "device", "side": arguments.matrix_side})
    given = {"float32": arguments.peak_float32, "mixed_bfloat16": arguments.peak_bfloat16}
    peaks = {name: peak * 1e12 if peak else device["matmul_flops"][name] for name, peak in given.items()}
    packages = ("jax", "jaxlib", "numpy", *(["torch"] if arguments.torch else []))
    results = {
        "command": shlex.join(["python", *sys.argv]),
        "device": device["device"],
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "config": {name: getattr(arguments, name) for name in (*TIMING, "matrix_side")},
        "matmul_flops": device["matmul_flops"],
        "peak_flops": peaks,
        "variants": {},
    }
    for number, (name, row) in enumerate(variants.items(), start=1):
        print(f"{number} of {len(variants)}: {name}", file=sys.stderr, flush=True)
        try:
            row.update(measured(name, questions[name]))
        except measuring.ProcessError as error:
            row["error"] = str(error)
        else:
            rate = row["images_per_second"]["median"] / peaks[row["precision"]]
            row["share_computed"] = rate * row["flop_per_image"]
            row["share_as_written"] = rate * row["flop_per_image_as_written"]
        results["variants"][name] = row
        save(results)
    return results


def plan(arguments: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Returns the settings of all variants by name, and the arguments of ``--measure`` for each."""
    variants: dict[str, dict[str, Any]] = {}
    questions: dict[str, dict[str, Any]] = {}
    timing = {name: getattr(arguments, name) for name in TIMING}
    for path in descriptions(arguments.folder):
        found = read_description(path)
        del found["arguments"]
        variants[found["name"]] = found
        questions[found["name"]] = {"what": "step", "path": path, **timing}
    if arguments.torch:
        if importlib.util.find_spec("torch") is None:
            raise measuring.UsageError("--torch needs the package torch, found none; pip install torch")
        size = {name: getattr(arguments, name) for name in ("base_channels", "attention_resolution")}
        for name, row in torch_variants(list(variants.values())).items():
            variants[name] = {"name": name, **row, **size}
            questions[name] = {"what": "torch", **row, **size, **timing}
    return variants, questions


def descriptions(folder: str) -> list[str]:
    """Returns the paths of the descriptions in a folder, of all steps that it has.

    Raises:
        measuring.UsageError: if there are none.
    """
    artifacts = sorted(glob.glob(os.path.join(glob.escape(folder), "*.stablehlo")))
    if not artifacts:
        raise measuring.UsageError(f"expected exported steps in {folder}, found none; run gpu_export.py {folder} first")
    return [f"{os.path.splitext(path)[0]}.json" for path in artifacts]


def torch_variants(steps: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Returns the variants of BigGAN in PyTorch by name: each batch and precision of the exported steps."""
    found = {}
    for batch, precision in sorted({(step["batch"], step["precision"]) for step in steps}):
        for memory_format in MEMORY_FORMATS:
            name = f"torch_biggan_batch{batch}_{precision}_{memory_format}"
            found[name] = {"batch": batch, "precision": precision, "memory_format": memory_format}
    return found


def table(results: Mapping[str, Any]) -> str:
    """Returns the results as a Markdown table."""
    rows = []
    for name, row in results["variants"].items():
        if "error" in row:
            rows.append([name, "failed", "", "", "", ""])
            continue
        rate, peak = row["images_per_second"], row["peak_bytes"] or row["program_bytes"]
        rows.append(
            [
                name,
                f"{rate['median']:.1f} ({rate['min']:.1f}-{rate['max']:.1f})",
                f"{row['share_as_written']:.2f}",
                f"{row['share_computed']:.2f}",
                f"{peak / 1e9:.2f} GB" if peak else "unknown",
                f"{row['seconds_compiling'] + row['seconds_warming_up']:.0f} s",
            ]
        )
    header = ["variant", "images/s", "share as written", "share computed", "memory", "preparation"]
    return measuring.table(header, rows)


def positive_number(text: str) -> float:
    """Parses a positive number; argparse reports the ``ValueError`` of other text."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return number


def main() -> None:
    """Measures, then writes JSON and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder with the files of gpu_export.py")
    parser.add_argument("--out", default="gpu.json", metavar="FILE", help="JSON file (default: gpu.json)")
    parser.add_argument("--torch", action="store_true", help="measure BigGAN in PyTorch, too")
    for precision in ("float32", "bfloat16"):
        help_text = f"peak of the device in {precision} (default: measured)"
        parser.add_argument(f"--peak-{precision}", type=positive_number, metavar="TFLOPS", help=help_text)
    parser.add_argument(
        "--matrix-side",
        type=measuring.positive,
        default=8192,
        metavar="N",
        help="size of the matrices that measure the peak (default: 8192)",
    )
    parser.add_argument(
        "--base-channels", type=measuring.positive, default=64, metavar="N", help="width of BigGAN (default: 64)"
    )
    parser.add_argument(
        "--attention-resolution",
        type=int,
        choices=ATTENTION_RESOLUTIONS,
        default=64,
        help="size of BigGAN's feature maps with self-attention (default: 64, as published)",
    )
    for name, default, unit in (
        ("warmup", 3, "steps before the first round"),
        ("rounds", 5, "rounds"),
        ("steps", 10, "steps in each round"),
    ):
        parser.add_argument(
            f"--{name}", type=measuring.positive, default=default, metavar="N", help=f"{unit} (default: {default})"
        )
    parser.add_argument("--measure", metavar="JSON", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        question = json.loads(arguments.measure)
        print(json.dumps(MEASUREMENTS[question.pop("what")](**question)))
    else:
        if importlib.util.find_spec("jax") is None:
            raise measuring.UsageError("this benchmark needs the package jax, found none; pip install jax")
        folder = os.path.dirname(os.path.abspath(arguments.out))
        if os.path.isdir(arguments.out) or not os.access(folder, os.W_OK):
            raise measuring.UsageError(f"--out {arguments.out}: expected a file in a folder that can be written")

        def save(results: Mapping[str, Any]) -> None:
            with open(arguments.out, "w", encoding="utf-8") as file:
                file.write(json.dumps(results, indent=1) + "\n")

        results = measure_all(arguments, save)
        print(table(results))
        errors = [f"{name}: {row['error']}" for name, row in results["variants"].items() if "error" in row]
        if errors:
            print("\n".join(errors), file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    measuring.run_script(main)
