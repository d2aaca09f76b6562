"""Counts the bytes that a compiled program moves from and to HBM.

The compiler's own count, "bytes accessed", also covers VMEM, the memory on the chip. Divided by the bandwidth of HBM,
it is therefore no lower bound on the duration of a step.
"""

import re
from collections.abc import Iterator

from tensorflow.compiler.xla.service.hlo_pb2 import HloComputationProto as Computation
from tensorflow.compiler.xla.service.hlo_pb2 import HloInstructionProto as Instruction
from tensorflow.compiler.xla.service.hlo_pb2 import HloModuleProto as Program
from tensorflow.compiler.xla.xla_data_pb2 import PrimitiveType
from tensorflow.compiler.xla.xla_data_pb2 import ShapeProto as Shape

_HBM = 0
"""Memory space of arrays in HBM; VMEM is 1, and flags and semaphores have others."""
_MOVES_NOTHING = {
    "add-dependency",
    "after-all",
    "async-done",
    "async-update",
    "bitcast",
    "constant",
    "copy-done",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
_CALLS = {"async-start", "call", "while"}
_READS_A_PART = {"dynamic-slice", "gather", "slice"}
_UPDATES_IN_PLACE = "dynamic-update-slice"


def read_program(path: str) -> Program:
    """Reads a compiled program that :mod:`hamgan.tpu_check.compile_stablehlo` wrote."""
    with open(path, "rb") as file:
        return Program.FromString(file.read())


def hbm_bytes(program: Program) -> int:
    """Counts the bytes that a program reads from HBM and writes to HBM.

    Each instruction reads its operands once, and writes its result. An instruction that reads a part of an array, or
    updates a part in place, moves that part only. Padding is not counted, bodies of loops count once, and only the
    branch of a conditional with the least traffic counts. The result is therefore a lower bound.

    Args:
        program: compiled program, after all passes of the TPU compiler, with memory spaces in its layouts.
    """
    computations = {computation.id: computation for computation in program.computations}

    def traffic(computation: Computation) -> int:
        by_id = {instruction.id: instruction for instruction in computation.instructions}
        total = 0
        for instruction in computation.instructions:
            called = [computations[number] for number in instruction.called_computation_ids]
            operands = [by_id[number] for number in instruction.operand_ids]
            if instruction.opcode in _CALLS:
                total += sum(map(traffic, called))
            elif instruction.opcode == "conditional":
                total += min(map(traffic, called))
            elif instruction.opcode == "copy-start":
                destination, source = instruction.shape.tuple_shapes[:2]
                total += _size(destination) + _size(source)
            elif instruction.opcode == "fusion":
                total += _of_fusion(instruction, operands, called[0])
            elif instruction.opcode not in _MOVES_NOTHING:
                total += sum(_read(instruction, place, operand.shape) for place, operand in enumerate(operands))
                total += _written(instruction, by_id, instruction.shape)
        return total

    return traffic(computations[program.entry_computation_id])


def _of_fusion(fusion: Instruction, operands: list[Instruction], fused: Computation) -> int:
    by_id = {instruction.id: instruction for instruction in fused.instructions}
    parameters = {each.parameter_number: each for each in fused.instructions if each.opcode == "parameter"}
    total = 0
    for index, operand in enumerate(operands):
        parts = sum(_read(user, place, operand.shape) for user, place in _users(parameters[index], fused))
        total += min(parts, _size(operand.shape))
    root = by_id[fused.root_id]
    if root.opcode == "tuple":
        results = zip((by_id[number] for number in root.operand_ids), fusion.shape.tuple_shapes, strict=True)
    else:
        results = zip([root], [fusion.shape], strict=True)
    return total + sum(_written(result, by_id, shape) for result, shape in results)


def _users(instruction: Instruction, computation: Computation) -> Iterator[tuple[Instruction, int]]:
    """Yields the instructions that use a value, also through bitcasts, and the position of the operand."""
    for user in computation.instructions:
        for place, operand in enumerate(user.operand_ids):
            if operand == instruction.id:
                if user.opcode == "bitcast":
                    yield from _users(user, computation)
                else:
                    yield user, place


def _read(user: Instruction, place: int, operand: Shape) -> int:
    """Returns what an instruction reads from HBM of the operand at a position."""
    if not _size(operand) or (place == 0 and user.opcode == _UPDATES_IN_PLACE):
        return 0
    if place == 0 and user.opcode in _READS_A_PART:
        return _size(user.shape, anywhere=True)
    return _size(operand)


def _written(instruction: Instruction, by_id: dict[int, Instruction], memory: Shape) -> int:
    if instruction.opcode == _UPDATES_IN_PLACE and _size(memory):
        return _size(by_id[instruction.operand_ids[1]].shape, anywhere=True)
    return _size(memory)


def _size(shape: Shape, anywhere: bool = False) -> int:
    """Returns the bytes of the arrays of a shape that are in HBM, or in any memory."""
    name = PrimitiveType.Name(shape.element_type)
    if name == "TUPLE":
        return sum(_size(part, anywhere) for part in shape.tuple_shapes)
    bits = 8 if name == "PRED" else int((re.search(r"\d+", name) or ["0"])[0])
    if not anywhere and shape.layout.memory_space != _HBM:
        return 0
    size = bits
    for dimension in shape.dimensions:
        size *= dimension
    return -(-size // 8)
