"""How fast are images sampled and the features behind FID computed, beside torch-fidelity and pytorch-fid?

  python scripts/benchmarks/inception.py [--batch 32] [--repeats 5] [--calls 3]

Compares images/s of networks as large as Inception-v3 on random images of 299x299 pixels: a SavedModel of Keras's
InceptionV3 with the outputs "logits" and "pool_3", computed as "hamgan evaluate" does, and the networks of both
packages for PyTorch, in the default memory format. All weights are random: the published ones would have to be
downloaded, and do not change the time. Each process builds one network and reports the median of the calls after the
first; processes are interleaved. Another process in each round measures the rate of a 3x3 convolution.

Two more processes measure images/s of sampling from "hamgan_strong" at 128x128, and of sampling and features in one
call, as "hamgan evaluate" computes them: no image leaves the device.

Needs the packages torch, torchvision, torch-fidelity and pytorch-fid. Writes JSON, a page and a figure. Run it on an
otherwise idle machine.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import statistics
import sys
import tempfile
import time
import unittest.mock
from collections.abc import Callable, Mapping
from typing import Any

import benchmarking
import numpy as np
import step_cost

from hamgan.config.presets import get_preset
from hamgan.errors import UserError

SIZE = 299
NUM_CLASSES = 1008
OURS = "hamgan"
VARIANTS = {OURS: "`hamgan`", "torch_fidelity": "torch-fidelity", "pytorch_fid": "pytorch-fid"}
SAMPLING = {"samples": "samples of 128x128", "samples_and_features": "samples and their features"}
PRESET = "hamgan_strong"
PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "torch_fidelity": "torch-fidelity",
    "pytorch_fid": "pytorch-fid",
}
FIGURE_INCHES = (8.0, 2.5)


def measure_variant(variant: str, batch: int, calls: int) -> dict[str, float]:
    """Returns images/s of one variant, in this process."""
    images = np.random.default_rng(0).integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        call = _call(variant, images, folder)
        call()
        seconds = []
        for _ in range(calls):
            begun = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begun)
    return {"images_per_second": batch / statistics.median(seconds)}


def _call(variant: str, images: np.ndarray, folder: str) -> Callable[[], Any]:
    """Returns the function to measure, which processes as many images as it is given."""
    if variant == OURS:
        return _hamgan(images, folder)
    return _sampling(variant, len(images), folder) if variant in SAMPLING else _torch(variant, images)


def _hamgan(images: np.ndarray, folder: str) -> Callable[[], Any]:
    import tensorflow as tf

    from hamgan.evaluation.feature_extractor import FeatureExtractor

    extractor = FeatureExtractor(_classifier(folder), "bilinear", tf.distribute.get_strategy(), len(images))
    scaled = images.astype(np.float32) / 127.5 - 1
    return lambda: extractor.of_batch(scaled)


def _sampling(variant: str, batch: int, folder: str) -> Callable[[], Any]:
    import tensorflow as tf

    from hamgan.networks.build import build_generator
    from hamgan.sampling.sampler import Sampler

    generator = build_generator(get_preset(PRESET).model)
    postprocess = tf.identity if variant == "samples" else _classifier(folder)
    sampler = Sampler(generator, seed=0, batch=batch, postprocess=postprocess)
    return lambda: list(sampler.batches(sampler.random_labels(batch)))


def _classifier(folder: str) -> Any:
    """Exports Inception-v3 to a folder, and loads it as the classifier of an evaluation."""
    import keras
    import tensorflow as tf

    from hamgan.evaluation.classifier import Classifier

    network = _inception()
    path = os.path.join(folder, "inception")
    archive = keras.export.ExportArchive()
    archive.track(network)
    signature = tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32, "images")
    archive.add_endpoint("serve", lambda images: network(images, training=False), input_signature=[signature])
    archive.write_out(path, verbose=False)
    return Classifier(path)


def _inception() -> Any:
    """Returns Inception-v3 in Keras with random weights, and logits and pool_3 as outputs."""
    import keras

    network = keras.applications.InceptionV3(
        weights=None, include_top=False, input_shape=(SIZE, SIZE, 3), pooling="avg"
    )
    logits = keras.layers.Dense(NUM_CLASSES)(network.output)
    return keras.Model(network.input, {"logits": logits, "pool_3": network.output})


def _torch(variant: str, images: np.ndarray) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    network = _torch_fidelity() if variant == "torch_fidelity" else _pytorch_fid()
    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
    if variant == "pytorch_fid":
        inputs = inputs.to(torch.float32) / 255

    def call() -> Any:
        with torch.inference_mode():
            return [output.numpy() for output in network(inputs)]

    return call


def _torch_fidelity() -> Any:
    from torch_fidelity import feature_extractor_inceptionv3 as module

    class WithoutWeights(module.FeatureExtractorInceptionV3):
        """The network with its initial weights."""

        def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> None:  # type: ignore[override]
            """Keeps the initial weights."""

    with unittest.mock.patch.object(module, "load_state_dict_from_url"):
        return WithoutWeights("random", ["2048", "logits_unbiased"])


def _pytorch_fid() -> Any:
    import pytorch_fid.inception as module
    import torchvision

    with (
        unittest.mock.patch.object(module, "load_state_dict_from_url"),
        unittest.mock.patch.object(torchvision.models.Inception3, "load_state_dict"),
    ):
        return module.InceptionV3().eval()


def flops() -> float:
    """Returns the FLOP of an image, two per multiply-add of the convolutions."""
    import keras

    return sum(
        2.0 * np.prod(layer.kernel.shape) * np.prod(layer.output.shape[1:3])
        for layer in _inception().layers
        if isinstance(layer, keras.layers.Conv2D)
    )


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measures all variants in turns; returns their rates and those of the machine."""
    missing = [package for module, package in PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"this benchmark needs {', '.join(missing)}, found none; pip install {' '.join(missing)}")
    options = ["--batch", str(arguments.batch), "--calls", str(arguments.calls)]
    train = os.path.join(os.path.dirname(os.path.abspath(__file__)), "train.py")
    commands = {
        "machine": [sys.executable, train, "--measure", "machine"],
        **{variant: [sys.executable, __file__, "--variant", variant, *options] for variant in (*VARIANTS, *SAMPLING)},
    }
    found = benchmarking.interleaved(commands, arguments.repeats)
    summaries = {
        name: {field: benchmarking.summary([row[field] for row in rows]) for field in rows[0]}
        for name, rows in found.items()
    }
    sampling = sum(layer.flops("auto") for layer in step_cost.generator_convolutions(get_preset(PRESET).model))
    return {
        "config": {"batch": arguments.batch, "calls": arguments.calls, "repeats": arguments.repeats},
        "packages": {package: importlib.metadata.version(package) for package in PACKAGES.values()},
        "flop_per_image": flops(),
        "sampling_flop_per_image": sampling,
        "machine": summaries.pop("machine"),
        "sampling": {variant: summaries.pop(variant) for variant in SAMPLING},
        "variants": summaries,
    }


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config, variants = results["config"], results["variants"]
    peak = results["machine"]["convolution_flops"]["median"]
    ours = variants[OURS]["images_per_second"]["median"]
    features, sampling = results["flop_per_image"], results["sampling_flop_per_image"]
    rows = [
        [VARIANTS[variant], *_rate(row, features / peak), f"{ours / row['images_per_second']['median']:.2f}"]
        for variant, row in variants.items()
    ]
    sampling_flops = {"samples": sampling, "samples_and_features": sampling + features}
    sampling_rows = [
        [SAMPLING[variant], *_rate(row, sampling_flops[variant] / peak)] for variant, row in results["sampling"].items()
    ]
    packages = ", ".join(f"{name} {version}" for name, version in results["packages"].items())
    return "\n".join(
        [
            "# Features of Inception",
            "",
            benchmarking.provenance(results),
            f"- Packages for PyTorch: {packages}",
            "",
            f"Batches of {config['batch']} images of {SIZE}x{SIZE}, networks as large as Inception-v3 with random "
            f"weights. Median and range over {config['repeats']} processes of each network, which report the median of "
            f"{config['calls']} calls. Share: images/s x FLOP of the convolutions "
            f"({features / 1e9:.1f} GFLOP) / rate of a 3x3 convolution, {peak / 1e9:.0f} GFLOP/s here.",
            "",
            benchmarking.table(["network", "images/s", "share", "ours over this"], rows),
            "",
            f"Sampling from `{PRESET}` takes {sampling / 1e9:.1f} GFLOP an image, in the forms of convolutions that "
            "`auto` chooses:",
            "",
            benchmarking.table(["what is computed", "images/s", "share"], sampling_rows),
            "",
            f"![images/s]({figure})",
            "",
        ]
    )


def _rate(row: Mapping[str, Any], share_of_one: float) -> tuple[str, str]:
    """Returns images/s with their range, and the share of the machine's rate if one image per second takes that."""
    rate = row["images_per_second"]
    return f"{rate['median']:.1f} ({rate['min']:.1f}-{rate['max']:.1f})", f"{rate['median'] * share_of_one:.2f}"


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws images/s of each network."""
    rates = {VARIANTS[variant]: row["images_per_second"]["median"] for variant, row in results["variants"].items()}
    benchmarking.draw_bars(rates, "images per second", FIGURE_INCHES, path)


def main() -> None:
    """Measures, then writes JSON, page and figure."""
    parser = benchmarking.new_parser(__doc__, "inception")
    benchmarking.add_repeats(parser)
    parser.add_argument("--batch", type=benchmarking.positive, default=32, metavar="N", help="default: 32")
    parser.add_argument(
        "--calls", type=benchmarking.positive, default=3, metavar="N", help="calls per process (default: 3)"
    )
    parser.add_argument("--variant", choices=(*VARIANTS, *SAMPLING), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure_variant(arguments.variant, arguments.batch, arguments.calls)))
    else:
        benchmarking.run(arguments, lambda: measure(arguments), page, draw)


if __name__ == "__main__":
    benchmarking.run_script(main)
