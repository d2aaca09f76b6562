"""Export of a run's generator to a folder: the files, their verification, a picture and a model card."""

import dataclasses
import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hamgan import random_streams
from hamgan.errors import UserError
from hamgan.layers.execution import execution
from hamgan.layers.fixed_bases import decompositions, fix_bases
from hamgan.networks import Generator
from hamgan.networks.build import build_generator
from hamgan.random_streams import Purpose
from hamgan.runs.checkpoints import checkpoint_sha256
from hamgan.runs.directory import RunDirectory
from hamgan.sampling.export.export_folder import check_folder, new_folder, write_text
from hamgan.sampling.export.file_format import formats_by_name
from hamgan.sampling.export.keras_file import KerasFormat
from hamgan.sampling.export.model_card import model_card
from hamgan.sampling.export.model_format import GenerateFunction, ModelFormat
from hamgan.sampling.export.onnx_file import ONNXFormat
from hamgan.sampling.export.report import ExportedFile
from hamgan.sampling.export.saved_model import SavedModelFormat
from hamgan.sampling.export.tflite import TFLiteFormat
from hamgan.sampling.export.verification import (
    check_difference,
    largest_difference,
    seconds_per_image,
    size_in_bytes,
)
from hamgan.sampling.grids import grid_classes, image_grid

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

FORMATS: dict[str, ModelFormat] = {
    "savedmodel": SavedModelFormat(),
    "keras": KerasFormat(),
    "tflite": TFLiteFormat(),
    "onnx": ONNXFormat(),
}
"""The formats by name."""
BASES = ("fixed", "random")
CARD_NAME = "README.md"
CLASS_NAMES_NAME = "class_names.json"
PICTURE_NAME = "samples.png"
REPORT_NAME = "export.json"

_PICTURE_COLUMNS = 10


def export(
    run: "Run",
    out: str,
    *,
    formats: Sequence[str] = tuple(FORMATS),
    bases: str = "fixed",
    license_id: str = "unknown",
) -> list[ExportedFile]:
    """Exports a run's generator; see :meth:`hamgan.Run.export`."""
    chosen = check_export(run, out, formats=formats, bases=bases)
    _ = run.generator  # Loaded on the device of the run, which may be a GPU.
    with new_folder(out) as folder, tf.device("CPU"):
        generator = exportable_generator(run, bases)
        progress = tqdm(chosen, unit="file", leave=False, disable=not sys.stderr.isatty())
        exported = []
        for model_format in progress:
            progress.set_description(model_format.title)
            file, generate = _export_one(model_format, generator, folder)
            exported.append(file)
        _write_picture(run, generator, generate, os.path.join(folder, PICTURE_NAME))
        card = model_card(
            run,
            generator,
            [(each, model_format.usage(generator)) for each, model_format in zip(exported, chosen, strict=True)],
            bases=bases if decompositions(generator) else None,
            license_id=license_id,
            evaluations=_evaluations(run),
        )
        report = {
            "step": run.step,
            "weights": run.weights,
            "bases": bases,
            "files": [dataclasses.asdict(each) for each in exported],
        }
        write_text(os.path.join(folder, CLASS_NAMES_NAME), json.dumps(run.class_names, indent=1) + "\n")
        write_text(os.path.join(folder, REPORT_NAME), json.dumps(report, indent=1) + "\n")
        write_text(os.path.join(folder, CARD_NAME), card)
    return exported


def check_export(run: "Run", out: str, *, formats: Sequence[str], bases: str) -> list[ModelFormat]:
    """Checks the arguments of an export, before any work, and returns the formats.

    Raises:
        UserError: if an argument is invalid, the folder contains files, or a package is missing.
    """
    chosen = _chosen_formats(formats, bases, run)
    for model_format in chosen:
        model_format.check_packages()
    check_folder(out)
    return chosen


def exportable_generator(run: "Run", bases: str) -> Generator:
    """Returns a float32 copy of a run's generator with fixed or random evaluation bases, on the current device.

    Args:
        run: run with a trained generator.
        bases: "fixed" or "random".
    """
    generator = run.generator
    is_fixed = bases == "fixed" and bool(decompositions(generator))
    if generator.variable_dtype != "float32" or not is_fixed:
        copy = build_generator(run.config.model, name=generator.name, precision="float32")
        for target, source in zip(copy.weights, generator.weights, strict=True):
            target.assign(tf.cast(source, target.dtype))
        generator = copy
    return fix_bases(generator) if is_fixed else generator


def _chosen_formats(names: Sequence[str], bases: str, run: "Run") -> list[ModelFormat]:
    chosen = formats_by_name(names, FORMATS)
    if bases not in BASES:
        raise UserError(f"bases must be {' or '.join(BASES)}, found '{bases}'")
    fixed_only = [model_format.title for model_format in chosen if not model_format.takes_random_bases]
    has_random_bases = any(module.has_random_bases(training=False) for module in run.generator.context)
    if bases == "random" and fixed_only and has_random_bases:
        raise UserError(
            f"{' and '.join(fixed_only)} cannot draw random bases; use --bases fixed, or --formats savedmodel,keras"
        )
    return chosen


def _export_one(model_format: ModelFormat, generator: Generator, folder: str) -> tuple[ExportedFile, GenerateFunction]:
    """Writes, loads, verifies and measures one file; returns the loaded function too."""
    path = os.path.join(folder, model_format.file_name)
    with execution(differentiable=False):
        model_format.write(generator, path)
    generate = model_format.load(path, generator)
    difference = largest_difference(generate, generator)
    check_difference(difference, model_format.title)
    model_format.verify_more(generate, generator)
    exported = ExportedFile(
        format=model_format.title,
        file=model_format.file_name,
        bytes=size_in_bytes(path),
        difference=difference,
        seconds_per_image=seconds_per_image(generate, generator),
    )
    return exported, generate


def _write_picture(run: "Run", generator: Generator, generate: GenerateFunction, path: str) -> None:
    """Writes a grid of images of an exported file, one class per row."""
    classes = grid_classes(generator.num_classes)
    key = random_streams.fold(0, Purpose.SAMPLES)
    rows = []
    for row, label in enumerate(classes):
        labels = np.full(_PICTURE_COLUMNS, label, np.int32)
        inputs = generator.draw_inputs(key, first=row * _PICTURE_COLUMNS, count=_PICTURE_COLUMNS, labels=labels)
        rows.append(generate(inputs.z.numpy(), labels))
    names = [run.class_names[label] for label in classes]
    grid = image_grid(np.concatenate(rows), columns=_PICTURE_COLUMNS, row_names=names)
    with open(path, "wb") as file:
        file.write(tf.io.encode_png(grid).numpy())


def _evaluations(run: "Run") -> list[dict[str, Any]]:
    """Returns the evaluations of the exported weights."""
    directory = RunDirectory(run.path)
    checkpoint = checkpoint_sha256(run.checkpoint)
    return [
        result
        for result in directory.evaluations.read()
        if result["step"] == run.step
        and result["weights"] == run.weights
        and (result["checkpoint"] == checkpoint or (result["checkpoint"] is None and result["source"] is None))
    ]
