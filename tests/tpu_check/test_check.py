import dataclasses

import pytest

from hamgan.config import override
from hamgan.config.presets import hamgan_strong
from hamgan.errors import UserError
from hamgan.tpu_check import check as check_module
from hamgan.tpu_check.check import Estimate, check, errors, table
from hamgan.tpu_check.chips import parse_topology
from hamgan.tpu_check.compiler import Compiled
from hamgan.tpu_check.lowering import Program

GIB = 2**30


def _estimate(**changes):
    compiled = Compiled(
        seconds=60.0,
        argument_bytes=2 * GIB,
        output_bytes=2 * GIB,
        aliased_bytes=2 * GIB,
        temporary_bytes=4 * GIB,
        code_bytes=0,
        flops=6.15e12,
        hbm_bytes=90_000_000_000,
    )
    estimate = Estimate(
        precision="float32",
        topology=parse_topology("v3:2x2"),
        core_batch=128,
        num_steps=1000,
        compiled=compiled,
        was_cached=False,
        has_loops=False,
        state_bytes=2 * GIB,
    )
    compiled_changes = {name: changes.pop(name) for name in list(changes) if hasattr(compiled, name)}
    return dataclasses.replace(estimate, compiled=dataclasses.replace(compiled, **compiled_changes), **changes)


def test_step_time_is_the_larger_of_compute_and_memory_time():
    estimate = _estimate()  # A core of v3 has 61.5 TFLOP/s and 450 GB/s.
    assert estimate.compute_seconds == pytest.approx(0.1)
    assert estimate.memory_seconds == pytest.approx(0.2)
    assert estimate.step_seconds == pytest.approx(0.2)
    assert _estimate(flops=61.5e12).step_seconds == pytest.approx(1.0)


def test_largest_batch_uses_the_memory_that_the_state_leaves():
    assert _estimate().compiled.memory == 6 * GIB
    assert _estimate().passes
    # 128 images take 4 GiB, and the state leaves 14 of 16 GiB.
    assert _estimate().largest_batch == 448
    too_much = _estimate(temporary_bytes=28 * GIB)
    assert not too_much.passes
    assert too_much.largest_batch == 64


def test_memory_use_is_read_from_the_compiler_error():
    error = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 30.00G of 16.00G hbm. Exceeded by 14.00G."
    estimate = _estimate(error=error)
    assert not estimate.passes
    assert estimate.largest_batch == 64
    lines = table([estimate])
    assert "no: does not fit" in lines[1]
    assert errors([estimate]) == [f"float32: {error}"]


def test_table_shows_each_precision():
    lines = table([_estimate(), _estimate(precision="mixed_bfloat16", was_cached=True, has_loops=True)])
    text = "\n".join(lines)
    assert "60 s (cached)" in text
    assert "6.00 of 16.00" in text
    assert "200 ms (memory)" in text
    assert "5,120" in text  # 8 cores x 128 images / 0.2 s
    assert "6.15e+12 (loops counted once)" in text
    assert errors([_estimate()]) == []


def test_check_compiles_the_share_of_one_core_in_each_precision(monkeypatch):
    lowered, lines = [], []

    def lower(config, core_batch):
        lowered.append((config.train.precision, core_batch))
        return Program(f"program {len(lowered)}", 8)

    compiled = Compiled(seconds=1.0, temporary_bytes=GIB)
    monkeypatch.setattr(check_module, "lower_train_step", lower)
    monkeypatch.setattr(check_module, "compile_for_tpu", lambda program, topology, label: (compiled, False))
    estimates = check(hamgan_strong(), parse_topology("v5e:2x4"), ("float32", "mixed_bfloat16"), lines.append)
    assert lowered == [("float32", 128), ("mixed_bfloat16", 128)]
    assert [estimate.precision for estimate in estimates] == ["float32", "mixed_bfloat16"]
    assert len(lines) == 2
    with pytest.raises(UserError, match="multiple of the 8 cores of v5e:2x4, found 100; use 96 or 104"):
        check(override(hamgan_strong(), ["train.global_batch=100"]), parse_topology("v5e:2x4"), ("float32",), print)
