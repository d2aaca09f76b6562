"""Multiply-adds of context modules, counted in their graphs."""

import dataclasses
import math
from typing import Any

import tensorflow as tf

from hamgan.architecture import discriminator_stages, generator_stages
from hamgan.config import ContextConfig, ModelConfig
from hamgan.networks.context import complete_arguments, make_context

_STAGES = {"generator": generator_stages, "discriminator": discriminator_stages}


def multiply_adds(model: ModelConfig, network: str) -> int:
    """Returns those of the convolutions and matrix products of a network's context modules, for one image.

    Args:
        model: config of both networks.
        network: "generator" or "discriminator".
    """
    config = getattr(model, network)
    channels = {size: config.base_channels * multiple for size, multiple in _STAGES[network](model.resolution)}
    return sum(_of_module(module, channels[module.resolution]) for module in config.context)


def _of_module(config: ContextConfig, channels: int) -> int:
    (module,) = make_context(complete_arguments([dataclasses.asdict(config)]), batch_norm={}, dtype="float32")
    call = tf.function(lambda images: module(images, training=False))
    spec = tf.TensorSpec((1, config.resolution, config.resolution, channels))
    return sum(map(_of_operation, call.get_concrete_function(spec).graph.get_operations()))


def _of_operation(operation: Any) -> int:
    """Products without a batch belong to spectral normalisation and are not counted."""
    if operation.type == "BatchMatMulV2":
        shape = operation.inputs[0].shape
        return operation.outputs[0].shape.num_elements() * int(shape[-2] if operation.get_attr("adj_x") else shape[-1])
    if operation.type == "Conv2D":
        return operation.outputs[0].shape.num_elements() * math.prod(operation.inputs[1].shape[:3])
    if operation.type == "Einsum":
        terms = operation.get_attr("equation").decode().partition("->")[0].split(",")
        lengths: dict[str, int] = {}
        for term, operand in zip(terms, operation.inputs, strict=True):
            lengths.update(zip(term, operand.shape, strict=True))
        return math.prod(lengths.values())
    return 0
