"""Where does a training step spend its time, layer by layer?

  python scripts/bench_profile.py [--preset hamgan_strong] [--batch 8] [--steps 3]

Profiles whole steps of the real train function with TensorFlow's profiler, one operation at a time (one inter-op
thread), so that the operations' times add up; each operation's time goes to the layer whose name it carries, forward or
backward, and once more to its kind. Times are means over the steps, of one process.

Writes JSON, a page and, beside it, its figure. Nothing else should be running.
"""

import argparse
import collections
import glob
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import benchmarking
from bench_train import random_batches

from hamgan.config import override
from hamgan.config.presets import get_preset

OTHER = "everything else"
NETWORKS = ("generator", "discriminator")
LAYERS_SHOWN = 40
KINDS_SHOWN = 20
FIGURE_INCHES = (8.0, 9.0)
_SUFFIX = re.compile(r"_\d+$")
_ONEDNN = re.compile(r"^_Mkl(Native)?")
_BACKWARD = "gradient_tape"


def layer_of(operation: str) -> tuple[str, bool]:
    """Returns the layer that an operation's name tells, such as "generator block1 conv2", and whether it is backward.

    Names are scopes and the operation, with numbers where a scope was entered again:
    ``while/gradient_tape/generator_3/block1_1/conv2_1/MatMul_4``.
    """
    scopes = [_SUFFIX.sub("", scope) for scope in operation.split("/")]
    is_backward = _BACKWARD in scopes
    for network in NETWORKS:
        if f"{network}_optimizer" in scopes:
            return f"{network}'s Adam", False
        if network in scopes:
            layers = scopes[scopes.index(network) + 1 : -1]
            depth = 2 if layers and layers[0].startswith(("block", "hamburger")) else 1
            return " ".join([network, *layers[:depth]]), is_backward
    return OTHER, is_backward


def read_profile(folder: str) -> dict[str, float]:
    """Returns the seconds of each operation, by "name:kind", of the newest profile below a folder."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    paths = sorted(glob.glob(os.path.join(folder, "**", "*.xplane.pb"), recursive=True))
    space = xplane_pb2.XSpace()
    with open(paths[-1], "rb") as file:
        space.ParseFromString(file.read())
    seconds: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                if re.fullmatch(r"[\w./\-]+:\w+", name):
                    seconds[name] += event.duration_ps / 1e12
    return dict(seconds)


def by_layer(seconds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Returns the seconds ``forward`` and ``backward`` by layer, the slowest first."""
    found: dict[str, dict[str, float]] = {}
    for name, taken in seconds.items():
        layer, is_backward = layer_of(name.rpartition(":")[0])
        passes = found.setdefault(layer, {"forward": 0.0, "backward": 0.0})
        passes["backward" if is_backward else "forward"] += taken
    return dict(sorted(found.items(), key=lambda item: -sum(item[1].values())))


def by_kind(seconds: Mapping[str, float]) -> dict[str, float]:
    """Returns the seconds by kind of operation, the slowest first."""
    found: collections.Counter[str] = collections.Counter()
    for name, taken in seconds.items():
        found[_ONEDNN.sub("", name.rpartition(":")[2])] += taken
    return dict(found.most_common())


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Profiles steps in this process; returns seconds a step by layer and by kind."""
    import tensorflow as tf

    from hamgan import random_streams
    from hamgan.training.state import TrainState
    from hamgan.training.step import TrainStep, make_train_function

    steps = arguments.steps
    config = override(get_preset(arguments.preset), [f"train.global_batch={arguments.batch}", *arguments.override])
    tf.config.threading.set_inter_op_parallelism_threads(1)
    strategy = tf.distribute.get_strategy()
    train = make_train_function(TrainStep(TrainState(config), config, strategy), strategy)
    iterator, stream = iter(random_batches(config)), random_streams.run_stream(config.train.seed)
    train(iterator, tf.constant(1), stream)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        taken = benchmarking.seconds(lambda: train(iterator, tf.constant(steps), stream)) / steps
        tf.profiler.experimental.stop()
        seconds = {name: total / steps for name, total in read_profile(folder).items()}
    return {"step_seconds": taken, "layers": by_layer(seconds), "kinds": by_kind(seconds)}


def _share(seconds: float, of: float) -> str:
    return f"{100 * seconds / of:.1f} %"


def _rows(entries: Iterable[tuple[str, tuple[float, ...]]], total: float) -> list[str]:
    lines = []
    for name, values in entries:
        cells = " | ".join(f"{value * 1e3:.0f}" for value in values)
        lines.append(f"| {name} | {cells} | {_share(sum(values), total)} |")
    return lines


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    total = sum(results["kinds"].values())
    layers = list(results["layers"].items())
    rest = [sum(passes[key] for _, passes in layers[LAYERS_SHOWN:]) for key in ("forward", "backward")]
    shown = [(name, (passes["forward"], passes["backward"])) for name, passes in layers[:LAYERS_SHOWN]]
    if len(layers) > LAYERS_SHOWN:
        shown.append((f"{len(layers) - LAYERS_SHOWN} more layers", (rest[0], rest[1])))
    kinds = [(name, (taken,)) for name, taken in results["kinds"].items()][:KINDS_SHOWN]
    return "\n".join(
        [
            "# A training step, layer by layer",
            "",
            benchmarking.provenance(results),
            "",
            f"One operation at a time: {results['step_seconds']:.2f} s a step, of which {total:.2f} s in operations. "
            "Milliseconds a step; the generator runs forward twice and backward once, the discriminator forward on "
            "three images of each and backward on three.",
            "",
            "| layer | forward | backward | share |",
            "|---|---|---|---|",
            *_rows(shown, total),
            "",
            f"![by layer]({figure})",
            "",
            "## By kind of operation",
            "",
            "| operation | ms | share |",
            "|---|---|---|",
            *_rows(kinds, total),
            "",
        ]
    )


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the time of each layer, forward and backward."""
    import matplotlib.pyplot as plt

    layers = dict(list(results["layers"].items())[:LAYERS_SHOWN][::-1])
    forward = [passes["forward"] * 1e3 for passes in layers.values()]
    backward = [passes["backward"] * 1e3 for passes in layers.values()]
    figure, axes = plt.subplots(figsize=FIGURE_INCHES, layout="constrained")
    axes.barh(list(layers), forward, label="forward")
    axes.barh(list(layers), backward, left=forward, label="backward")
    axes.set_xlabel("ms a step")
    axes.legend()
    figure.savefig(path)
    plt.close(figure)


def main() -> None:
    """Measures, and writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "profile")
    parser.add_argument("--preset", default="hamgan_strong", metavar="NAME", help="default: hamgan_strong")
    parser.add_argument("--batch", type=benchmarking.positive, default=8, metavar="N", help="default: 8")
    parser.add_argument("--steps", type=benchmarking.positive, default=3, metavar="N", help="profiled (default: 3)")
    parser.add_argument("--override", nargs="+", default=[], metavar="KEY=VALUE", help="of the preset's config")
    arguments = parser.parse_args()
    benchmarking.run(arguments, lambda: measure(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
