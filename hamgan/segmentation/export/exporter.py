"""Export of a segmentation network to a folder: the files, their verification, and a page that says how to use them."""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan.counted import counted
from hamgan.errors import UserError
from hamgan.layers.execution import execution
from hamgan.layers.fixed_bases import decompositions, fix_bases
from hamgan.sampling.export.export_folder import check_folder, new_folder, write_text
from hamgan.sampling.export.file_format import formats_by_name
from hamgan.sampling.export.model_card import markdown_table
from hamgan.sampling.export.report import ExportedFile, header
from hamgan.sampling.export.verification import check_difference, median_seconds, size_in_bytes
from hamgan.segmentation.export.formats import FORMATS
from hamgan.segmentation.export.network_format import ExportedNetwork, NetworkFormat
from hamgan.segmentation.export.reference import Reference
from hamgan.segmentation.networks.network import SegmentationNetwork

CARD_NAME = "README.md"
CLASS_NAMES_NAME = "class_names.json"
REPORT_NAME = "export.json"
SIZE = (513, 513)
"""Height and width of the images of TFLite and ONNX, in pixels: the published crop."""


def export_network(
    network: keras.Model,
    out: str,
    *,
    class_names: Sequence[str],
    formats: Sequence[str] = tuple(FORMATS),
    size: tuple[int, int] = SIZE,
) -> list[ExportedFile]:
    """Exports a segmentation network to files that run elsewhere, with a page that says how to use them.

    Initial bases are fixed. Each file is loaded again and compared with the Keras model. The folder appears only when
    all of them agree.

    Args:
        network: :class:`hamgan.segmentation.SegmentationNetwork`.
        out: new or empty local folder.
        class_names: name of each class.
        formats: formats of the files: "savedmodel", "keras", "tflite" and "onnx". ONNX needs ``hamgan[onnx]``.
        size: height and width of the images of TFLite and ONNX, in pixels. The other formats take images of any size.

    Returns:
        For each file, its format, name, size in bytes, the largest difference from the logits of the Keras model,
        relative to the largest logit if that is above 1, and the CPU time of an image of this size.

    Raises:
        UserError: if an argument is invalid, the folder contains files, or a package is missing.
        FailedError: if logits of a file differ from those of the Keras model by more than 1e-4, or ten times the change
            that rounding of the image causes, or in any case 1e-2.

    Example:
        >>> from hamgan.segmentation import HamNet, ResNet
        >>> from hamgan.segmentation.export import export_network
        >>> network = HamNet(ResNet(depths=(1, 1, 1, 1), base_channels=8), num_classes=2, head_channels=16, rank=4)
        >>> files = export_network(network, "exported", class_names=["ground", "sky"], formats=["keras"], size=(65, 65))
        >>> [file.file for file in files]
        ['network.keras']
    """
    chosen = check_export(network, out, formats=formats, size=size)
    with new_folder(out) as folder, tf.device("CPU"):
        exported_network = ExportedNetwork(_exportable(network), *size)
        reference = Reference(exported_network)
        files = []
        progress = tqdm(chosen, unit="file", leave=False, disable=not sys.stderr.isatty())
        for model_format in progress:
            progress.set_description(model_format.title)
            files.append(_export_one(model_format, exported_network, reference, folder))
        report = {"size": list(size), "files": [dataclasses.asdict(file) for file in files]}
        write_text(os.path.join(folder, CLASS_NAMES_NAME), json.dumps(list(class_names), indent=1) + "\n")
        write_text(os.path.join(folder, REPORT_NAME), json.dumps(report, indent=1) + "\n")
        write_text(os.path.join(folder, CARD_NAME), _card(exported_network, chosen, files, class_names))
    return files


def check_export(
    network: keras.Model, out: str, *, formats: Sequence[str], size: tuple[int, int] = SIZE
) -> list[NetworkFormat]:
    """Checks the arguments of an export, before any work, and returns the formats.

    Raises:
        UserError: if an argument is invalid, the folder contains files, or a package is missing.
    """
    if not isinstance(network, SegmentationNetwork):
        raise UserError(
            f"expected a network that segments images, found {network.name}, which does not; choose another"
        )
    if min(size) < 1:
        raise UserError(f"--size: expected a positive height and width, found {size[0]}x{size[1]}")
    chosen = formats_by_name(formats, FORMATS)
    for model_format in chosen:
        model_format.check_packages()
    check_folder(out)
    return chosen


def _exportable(network: SegmentationNetwork) -> keras.Model:
    """Returns a network whose evaluation bases are stored."""
    if any(ham.evaluation_bases == "random" for ham in decompositions(network)):
        try:
            return fix_bases(network)
        except ValueError as error:
            raise UserError(f"cannot export {network.name}: {error}") from error
    return network


def _export_one(
    model_format: NetworkFormat, network: ExportedNetwork, reference: Reference, folder: str
) -> ExportedFile:
    """Writes, loads, verifies and measures one file."""
    path = os.path.join(folder, model_format.file_name)
    with execution(differentiable=False):
        model_format.write(network, path)
    compute_logits = model_format.load(path)
    difference = reference.difference(compute_logits)
    check_difference(difference, model_format.title, "logits", reference.tolerance)
    model_format.verify_more(path, network, reference.pictures, reference.tolerance)
    return ExportedFile(
        format=model_format.title,
        file=model_format.file_name,
        bytes=size_in_bytes(path),
        difference=difference,
        seconds_per_image={1: median_seconds(lambda: compute_logits(reference.images[:1]))},
    )


def _card(
    network: ExportedNetwork,
    formats: Sequence[NetworkFormat],
    files: Sequence[ExportedFile],
    class_names: Sequence[str],
) -> str:
    """Returns the page of the folder, in Markdown."""
    model = network.model
    weights = sum(int(np.prod(weight.shape)) for weight in model.trainable_variables)
    parts = [
        f"# Segmentation network: {model.name}",
        f"{type(model).__name__} with {weights:,} trainable weights and {counted(len(class_names), 'class')}. TFLite "
        f"and ONNX take one image of {network.height}x{network.width} pixels, the other formats any size. Initial "
        "bases are fixed, so that results are deterministic. Times are those of the machine that exported.",
        markdown_table(header(files), [file.cells() for file in files]),
        "Differences are those of logits from the Keras model, relative to the largest logit if that is above 1.",
        "## Use",
    ]
    for model_format in formats:
        parts += [f"### {model_format.title}", f"```python\n{model_format.usage(network)}```"]
    parts += ["## Classes", markdown_table(("value", "class"), [(str(i), name) for i, name in enumerate(class_names)])]
    return "\n\n".join(parts) + "\n"
