"""Bytes that the operations of a traced function read and write, as if each went through main memory.

TensorFlow on a CPU runs one kernel for each operation: it reads its inputs and writes its outputs. A cache may hold
them, and a kernel may overwrite an input in place. The count knows neither: it is an upper bound, to compare versions
of a step with one another.
"""

from collections.abc import Iterable

import tensorflow as tf

WITHOUT_DATA = {
    "Const",
    "ExpandDims",
    "Identity",
    "IdentityN",
    "NoOp",
    "Placeholder",
    "PreventGradient",
    "Rank",
    "ReadVariableOp",
    "Reshape",
    "Shape",
    "ShapeN",
    "Size",
    "Squeeze",
    "StopGradient",
}
"""Operations that pass on an array without touching it, or look at its shape alone."""
READS_WHAT_IT_WRITES = {"GatherV2", "Slice", "StridedSlice"}
"""Operations that read no more than they write, however large the input."""
ADAM = "ResourceApplyAdam"
ADAM_SLOTS = 3
"""The variable and two averages, each read and written."""


def bytes_moved(graph: tf.Graph, results: Iterable[tf.Tensor]) -> int:
    """Returns the bytes read and written by all operations of which a result or the state depends.

    Args:
        graph: traced function, with known shapes.
        results: results of the function.
    """
    return sum(map(_bytes_of, _needed(graph, results)))


def _needed(graph: tf.Graph, results: Iterable[tf.Tensor]) -> set[tf.Operation]:
    waiting = [result.op for result in results]
    waiting += [operation for operation in graph.get_operations() if operation.op_def.is_stateful]
    found: set[tf.Operation] = set()
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [*(tensor.op for tensor in operation.inputs), *operation.control_inputs]
    return found


def _bytes_of(operation: tf.Operation) -> int:
    if operation.type in WITHOUT_DATA:
        return 0
    read, written = (sum(map(_size, tensors)) for tensors in (operation.inputs, operation.outputs))
    if operation.type in READS_WHAT_IT_WRITES:
        return 2 * written
    if operation.type == ADAM:
        return read + 2 * ADAM_SLOTS * _size(operation.inputs[-1])
    return read + written


def _size(tensor: tf.Tensor) -> int:
    """Returns the size in bytes; handles of variables have none."""
    if tensor.dtype in (tf.resource, tf.variant, tf.string):
        return 0
    return tensor.shape.num_elements() * tensor.dtype.size if tensor.shape.is_fully_defined() else 0
