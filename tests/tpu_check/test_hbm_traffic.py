import pytest
from google.protobuf import text_format
from tensorflow.compiler.xla.service import hlo_pb2

from hamgan.tpu_check.hbm_traffic import hbm_bytes

HBM, VMEM = 0, 1


def _array(size, memory=HBM, dtype="F32"):
    return f"shape {{ element_type: {dtype} dimensions: {size} layout {{ memory_space: {memory} }} }}"


def _tuple(*parts):
    return (
        f"shape {{ element_type: TUPLE {' '.join('tuple_' + part.replace('shape', 'shapes', 1) for part in parts)} }}"
    )


def _instruction(number, opcode, shape, operands=(), called=(), more=""):
    numbers = [f"operand_ids: {operand}" for operand in operands] + [
        f"called_computation_ids: {each}" for each in called
    ]
    return f"instructions {{ id: {number} opcode: '{opcode}' {shape} {' '.join(numbers)} {more} }}"


def _parameter(number, index, shape):
    return _instruction(number, "parameter", shape, more=f"parameter_number: {index}")


def _program(entry, *called):
    """A program of computations, each a list of instructions whose last one is the root; the entry has the number 0."""
    computations = [
        f"computations {{ id: {number} root_id: {len(instructions)} {' '.join(instructions)} }}"
        for number, instructions in enumerate([entry, *called])
    ]
    return text_format.Parse(f"entry_computation_id: 0 {' '.join(computations)}", hlo_pb2.HloModuleProto())


def test_operands_and_results_in_hbm_are_counted():
    program = _program(
        [
            _parameter(1, 0, _array(100)),
            _parameter(2, 1, _array(100, dtype="BF16")),
            _instruction(3, "add", _array(100, VMEM), (1, 2)),
            _instruction(4, "bitcast", _array(100, VMEM), (3,)),
            _instruction(5, "negate", _array(100, dtype="PRED"), (4,)),
        ]
    )
    assert hbm_bytes(program) == 400 + 200 + 100


def test_copy_into_vmem_reads_hbm_once():
    pair = _tuple(_array(100, VMEM), _array(100), _array(1, 2))
    program = _program(
        [
            _parameter(1, 0, _array(100)),
            _instruction(2, "copy-start", pair, (1,)),
            _instruction(3, "copy-done", _array(100, VMEM), (2,)),
            _instruction(4, "add", _array(100, VMEM), (3, 3)),
        ]
    )
    assert hbm_bytes(program) == 400


def test_asynchronous_slice_reads_the_slice():
    program = _program(
        [
            _parameter(1, 0, _array(100)),
            _instruction(2, "async-start", _tuple(_tuple(_array(100)), _array(10, VMEM)), (1,), called=(1,)),
            _instruction(3, "async-done", _array(10, VMEM), (2,)),
        ],
        [_parameter(1, 0, _array(100)), _instruction(2, "slice", _array(10, VMEM), (1,))],
    )
    assert hbm_bytes(program) == 40


@pytest.mark.parametrize(("opcode", "expected"), [("dynamic-slice", 2 * 40), ("negate", 400 + 40)])
def test_fusion_reads_what_it_uses(opcode, expected):
    program = _program(
        [_parameter(1, 0, _array(100)), _instruction(2, "fusion", _array(10), (1,), called=(1,))],
        [
            _parameter(1, 0, _array(100)),
            _instruction(2, "bitcast", _array(100), (1,)),
            _instruction(3, opcode, _array(10), (2,)),
        ],
    )
    assert hbm_bytes(program) == expected


def test_fusion_reads_an_array_once_that_it_uses_twice():
    program = _program(
        [_parameter(1, 0, _array(100)), _instruction(2, "fusion", _array(100, VMEM), (1,), called=(1,))],
        [_parameter(1, 0, _array(100)), _instruction(2, "multiply", _array(100), (1, 1))],
    )
    assert hbm_bytes(program) == 400


def test_update_in_place_moves_the_update():
    program = _program(
        [
            _parameter(1, 0, _array(100)),
            _parameter(2, 1, _array(10, VMEM)),
            _instruction(3, "fusion", _tuple(_array(100), _array(5)), (1, 2), called=(1,)),
        ],
        [
            _parameter(1, 0, _array(100)),
            _parameter(2, 1, _array(10)),
            _instruction(3, "dynamic-update-slice", _array(100), (1, 2)),
            _instruction(4, "negate", _array(5), (2,)),
            _instruction(5, "tuple", _tuple(_array(100), _array(5)), (3, 4)),
        ],
    )
    assert hbm_bytes(program) == 40 + 20


def test_bodies_of_loops_are_counted_once_and_their_state_is_not():
    state = _tuple(_array(100), _array(1))
    program = _program(
        [_parameter(1, 0, state), _instruction(2, "while", state, (1,), called=(1,))],
        [
            _parameter(1, 0, state),
            _instruction(2, "get-tuple-element", _array(100), (1,)),
            _instruction(3, "negate", _array(100), (2,)),
        ],
    )
    assert hbm_bytes(program) == 800


def test_one_branch_of_a_conditional_is_counted():
    branches = [[_parameter(1, 0, _array(size)), _instruction(2, "negate", _array(size), (1,))] for size in (100, 10)]
    program = _program(
        [
            _parameter(1, 0, _array(1, VMEM, "PRED")),
            _parameter(2, 1, _array(100)),
            _parameter(3, 2, _array(10)),
            _instruction(4, "conditional", _array(10), (1, 2, 3), called=(1, 2)),
        ],
        *branches,
    )
    assert hbm_bytes(program) == 80
