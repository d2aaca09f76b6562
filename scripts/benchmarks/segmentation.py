"""How long does HamNet-101 take for an image, beside the same network in PyTorch?

  python scripts/benchmarks/segmentation.py [--size 513] [--repeats 5] [--calls 3]

Compares the forward pass of HamNet-101 with V2, output stride 8, and one image, in inference. The network in PyTorch,
in torch_hamnet.py, has the operations of the published one. It is measured in PyTorch's default memory format and with
channels last. Both libraries use all cores. Each process builds one network and reports the median of the calls after
the first; processes are interleaved. Weights and images are random.

Needs the extra torch. Writes JSON, a page and a figure. Run it on an otherwise idle machine.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import benchmarking
import numpy as np

from hamgan.errors import UserError

NUM_CLASSES = 21
OURS = "hamgan"
VARIANTS = {
    OURS: "`hamgan.segmentation.HamNet`",
    "torch": "PyTorch, default memory format",
    "torch_channels_last": "PyTorch, channels last",
}
FIGURE_INCHES = (8.0, 2.5)


def measure_variant(variant: str, size: int, calls: int) -> dict[str, float]:
    """Returns seconds and CPU seconds per call of one variant, in this process."""
    images = np.random.default_rng(0).standard_normal((1, size, size, 3), np.float32)
    call = _hamnet(images) if variant == OURS else _torch_hamnet(images, channels_last=variant != "torch")
    call()
    seconds, cpu_seconds = [], []
    for _ in range(calls):
        begun = time.perf_counter(), time.process_time()
        call()
        seconds.append(time.perf_counter() - begun[0])
        cpu_seconds.append(time.process_time() - begun[1])
    return {"seconds": statistics.median(seconds), "cpu_seconds": statistics.median(cpu_seconds)}


def _hamnet(images: np.ndarray) -> Callable[[], Any]:
    import tensorflow as tf

    from hamgan.segmentation import HamNet

    network = HamNet("resnet101", version="v2", num_classes=NUM_CLASSES)
    predict = tf.function(lambda inputs: network(inputs, training=False), autograph=False)
    inputs = tf.constant(images)
    return lambda: predict(inputs).numpy()


def _torch_hamnet(images: np.ndarray, *, channels_last: bool) -> Callable[[], Any]:
    import torch
    import torch_hamnet

    torch.set_num_threads(os.cpu_count() or 1)
    network = torch_hamnet.HamNet(NUM_CLASSES).eval()
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
        inputs = inputs.to(memory_format=torch.channels_last)

    def call() -> Any:
        with torch.inference_mode():
            return network(inputs).numpy()

    return call


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures all variants in turns; returns their times and ratios to the fastest network in PyTorch."""
    if importlib.util.find_spec("torch") is None:
        raise UserError("this benchmark needs the package torch, found none; pip install 'hamgan[torch]'")
    size, calls = str(arguments.size), str(arguments.calls)
    commands = {
        variant: [sys.executable, __file__, "--variant", variant, "--size", size, "--calls", calls]
        for variant in VARIANTS
    }
    found = benchmarking.interleaved(commands, arguments.repeats)
    return {
        "config": {"size": arguments.size, "calls": arguments.calls, "repeats": arguments.repeats},
        "torch": importlib.metadata.version("torch"),
        "variants": {
            variant: {name: benchmarking.summary([row[name] for row in rows]) for name in rows[0]}
            for variant, rows in found.items()
        },
    }


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config, variants = results["config"], results["variants"]
    ours = variants[OURS]
    rows = [
        [
            VARIANTS[variant],
            f"{row['seconds']['median']:.2f} ({row['seconds']['min']:.2f}-{row['seconds']['max']:.2f})",
            f"{row['cpu_seconds']['median']:.2f}",
            f"{ours['seconds']['median'] / row['seconds']['median']:.2f}",
        ]
        for variant, row in variants.items()
    ]
    return "\n".join(
        [
            "# Segmentation of an image",
            "",
            benchmarking.provenance(results),
            "",
            f"HamNet-101 (V2, output stride 8) on one image of {config['size']}x{config['size']}, in inference, beside "
            f"the same operations in PyTorch {results['torch']}. Median and range over {config['repeats']} processes "
            f"of each network, which report the median of {config['calls']} calls.",
            "",
            benchmarking.table(["network", "seconds", "CPU seconds", "ours over this"], rows),
            "",
            f"![seconds]({figure})",
            "",
        ]
    )


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the seconds of each network."""
    seconds = {VARIANTS[variant]: row["seconds"]["median"] for variant, row in results["variants"].items()}
    benchmarking.draw_bars(seconds, "seconds per image", FIGURE_INCHES, path)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "segmentation")
    benchmarking.add_repeats(parser)
    parser.add_argument(
        "--size", type=benchmarking.positive, default=513, metavar="N", help="height and width (default: 513)"
    )
    parser.add_argument(
        "--calls", type=benchmarking.positive, default=3, metavar="N", help="calls per process (default: 3)"
    )
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure_variant(arguments.variant, arguments.size, arguments.calls)))
    else:
        benchmarking.run(arguments, lambda: measure(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
