"""Exports training steps as StableHLO, to be measured on a GPU by scripts/benchmarks/gpu.py, which needs no TensorFlow.

  python scripts/benchmarks/gpu_export.py build/gpu [--batches 32 64 128] [--forms plain strided]

Writes two files for each combination of batch, precision and convolution form: NAME.stablehlo, the step of
"hamgan tpu-check", traced for GPUs, as a portable artifact, and NAME.json, which describes it: the settings, the FLOP
per image, and each argument with its shape, dtype, initial values and the result that replaces it in the next step.
The artifact has no weights: the description has their mean and standard deviation.

Needs jax: pip install 'hamgan[tpu-check]'.
"""

import argparse
import importlib.util
import itertools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import benchmarking
import measuring
import numpy as np
import step_cost

from hamgan.cli.options import check_output_folder
from hamgan.config import ExperimentConfig, override
from hamgan.config.presets import get_preset
from hamgan.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

FORMS = ("plain", "strided", "products")
_ALIAS = re.compile(r"parameter_number = (\d+) : i64\}, output_index = array<i64: (\d+)>")


def export(config: ExperimentConfig, folder: str, name: str) -> dict[str, Any]:
    """Writes the step of a config; returns its description.

    Args:
        config: config whose global batch is that of the device.
        folder: existing folder.
        name: base name of the files.
    """
    from hamgan.files import write_atomically
    from hamgan.tpu_check.lowering import lower_step
    from hamgan.training.state import TrainState

    state = TrainState(config)
    text, variables = lower_step(state, config, "gpu")
    replaced_by = {int(argument): int(result) for argument, result in _ALIAS.findall(text)}
    write_atomically(os.path.join(folder, f"{name}.stablehlo"), portable_artifact(text, replaced_by))
    arguments = describe_arguments(config, variables)
    for index, result in replaced_by.items():
        arguments[index]["replaced_by"] = result
    description = {
        "name": name,
        "preset": config.name,
        "resolution": config.model.resolution,
        "batch": config.train.global_batch,
        "precision": config.train.precision,
        "form": config.model.convolution_form,
        "flop_per_image_as_written": step_cost.step_flops(config.model),
        "flop_per_image": step_cost.step_flops(config.model, config.model.convolution_form),
        "arguments": arguments,
    }
    benchmarking.write_json(os.path.join(folder, f"{name}.json"), description)
    return description


def portable_artifact(text: str, replaced_by: dict[int, int]) -> bytes:
    """Serializes a program in StableHLO's oldest version, which all versions of JAX read.

    Args:
        text: StableHLO.
        replaced_by: for arguments by index, the index of the result that may take the argument's memory.
    """
    from jax._src.interpreters.mlir import make_ir_context
    from jaxlib.mlir import ir
    from jaxlib.mlir.dialects import stablehlo

    with make_ir_context():
        module = ir.Module.parse(text)
        attributes = module.operation.attributes
        # XLA's own attributes cannot be serialized. The only one that matters names the memory that results may reuse.
        for name in [name for name in attributes if name.startswith("mhlo.")]:
            del attributes[name]
        main = next(operation for operation in module.body if operation.name.value == "main")
        main.arg_attrs = ir.ArrayAttr.get(
            [
                ir.DictAttr.get(
                    {"tf.aliasing_output": ir.IntegerAttr.get(ir.IntegerType.get_signless(32), replaced_by[index])}
                    if index in replaced_by
                    else {}
                )
                for index in range(len(main.type.inputs))
            ]
        )
        return stablehlo.serialize_portable_artifact(module, stablehlo.get_minimum_version())


def describe_arguments(config: ExperimentConfig, variables: Mapping[str, "tf.Variable"]) -> list[dict[str, Any]]:
    """Describes all arguments of the program: those of the step, then the variables."""
    from hamgan import random_streams
    from hamgan.tpu_check.lowering import step_arguments

    stream = random_streams.run_stream(config.train.seed).numpy().tolist()
    values = {
        "number": {"constant": 0},
        "stream": {"constant": stream},
        "images": {"uniform": [-1.0, 1.0]},
        "labels": {"integers_below": config.model.num_classes},
    }
    found = [
        {"name": spec.name, "shape": spec.shape.as_list(), "dtype": spec.dtype.name, "values": values[spec.name]}
        for spec in step_arguments(config)
    ]
    for name, variable in variables.items():
        found.append(
            {
                "name": name,
                "shape": variable.shape.as_list(),
                "dtype": variable.dtype.name,
                "values": summarize(variable.numpy()),
            }
        )
    return found


def summarize(values: np.ndarray) -> dict[str, Any]:
    """Describes initial values: a constant, or normal numbers with their mean and standard deviation."""
    first = values.flat[0].item()
    if (values == first).all():
        return {"constant": first}
    return {"normal": [values.mean(dtype=np.float64).item(), values.std(dtype=np.float64).item()]}


def configs(arguments: argparse.Namespace) -> dict[str, ExperimentConfig]:
    """Returns all requested combinations by name."""
    found = {}
    for batch, precision, form in itertools.product(arguments.batches, arguments.precisions, arguments.forms):
        config = override(
            get_preset(arguments.preset),
            [
                *arguments.override,
                f"train.global_batch={batch}",
                f"train.precision={precision}",
                f"model.convolution_form={form}",
            ],
        )
        updates = (config.train.discriminator_updates, config.train.generator_updates)
        if updates != (1, 1):
            raise UserError(f"FLOP are known for one update of each network, found {updates[0]} and {updates[1]}")
        found[f"{config.name}_{config.model.resolution}px_batch{batch}_{precision}_{form}"] = config
    return found


def main() -> None:
    """Exports all combinations."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder for the files")
    parser.add_argument("--preset", default="hamgan_strong", metavar="NAME", help="default: hamgan_strong")
    parser.add_argument(
        "--batches",
        nargs="+",
        type=benchmarking.positive,
        default=[32, 64, 128],
        metavar="N",
        help="default: 32 64 128",
    )
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=measuring.PRECISIONS,
        default=list(measuring.PRECISIONS),
        help="default: both",
    )
    parser.add_argument(
        "--forms", nargs="+", choices=FORMS, default=["plain", "strided"], help="default: plain strided"
    )
    parser.add_argument("--override", nargs="+", default=[], metavar="FIELD=VALUE", help="changes of the preset")
    arguments = parser.parse_args()
    if importlib.util.find_spec("jax") is None:
        raise UserError("this benchmark needs the package jax, found none; pip install 'hamgan[tpu-check]'")
    requested = configs(arguments)
    check_output_folder("FOLDER", arguments.folder)
    os.makedirs(arguments.folder, exist_ok=True)
    for name, config in requested.items():
        export(config, arguments.folder, name)
        print(os.path.join(arguments.folder, f"{name}.json"), flush=True)


if __name__ == "__main__":
    benchmarking.run_script(main)
