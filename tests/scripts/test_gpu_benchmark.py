"""The benchmark on GPUs: exported steps, their execution by JAX, BigGAN in PyTorch, and what users may do wrong."""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import gpu
import gpu_export
import measuring
import step_cost

from hamgan.config import override
from hamgan.errors import UserError
from hamgan.training.state import TrainState
from hamgan.training.step import TrainStep

NAME = "step"
PROGRAM = """
module @train_step attributes {mhlo.is_dynamic = false} {
  func.func @main(%images: tensor<4xf32>, %weight: tensor<f32>) -> (tensor<4xf32>, tensor<f32>) {
    %all = stablehlo.broadcast_in_dim %weight, dims = [] : (tensor<f32>) -> tensor<4xf32>
    %product = stablehlo.multiply %all, %images : tensor<4xf32>
    %twice = stablehlo.add %weight, %weight : tensor<f32>
    return %product, %twice : tensor<4xf32>, tensor<f32>
  }
}
"""


@pytest.mark.slow
def test_jax_computes_the_steps_of_tensorflow(tiny, tmp_path):
    jax = pytest.importorskip("jax")
    config = override(tiny, ["model.convolution_form=strided"])
    description = gpu_export.export(config, str(tmp_path), NAME)
    assert description == json.loads((tmp_path / f"{NAME}.json").read_text())
    assert description["batch"] == 4
    assert description["flop_per_image"] == step_cost.step_flops(config.model, "strided")

    state = TrainState(config)
    take_step = TrainStep(state, config, tf.distribute.get_strategy())
    variables = state.variables()
    for name, variable in variables.items():
        if name.endswith("hamburger/sigma"):
            variable.assign(0.7)  # Initially zero, which would hide the context modules.
    initial = {name: variable.numpy() for name, variable in variables.items()}
    inputs = gpu.random_arguments(description)
    names = [argument["name"] for argument in description["arguments"]]
    step = gpu.CompiledStep(str(tmp_path / f"{NAME}.json"), jax.devices()[0])
    arguments = step.put([initial.get(name, value) for name, value in zip(names, inputs, strict=True)])
    number, stream, images, labels = map(tf.constant, inputs[:4])
    for _ in range(2):
        expected = take_step(((images, labels),), number, stream)
        previous = arguments
        arguments, metrics = step(arguments)
        np.testing.assert_allclose(metrics, [expected[name] for name in sorted(expected)], rtol=1e-4, atol=1e-6)
        assert sum(argument.is_deleted() for argument in previous) > 0.9 * len(previous), "not updated in place"
    found = dict(zip(names, arguments, strict=True))
    weights = [name for name in variables if name in found and "optimizer" not in name]
    assert len(weights) > 0.9 * len(state.generator.weights + state.discriminator.weights)
    difference = sum(np.sum((np.asarray(found[name]) - variables[name].numpy()) ** 2) for name in weights)
    change = sum(np.sum((initial[name] - variables[name].numpy()) ** 2) for name in weights)
    assert np.sqrt(difference / change) < 1e-3
    assert found["generator_optimizer/iteration"] == 2
    assert step.memory()["program_bytes"] > 0


@pytest.mark.slow
def test_results_have_rates_shares_and_failures(tmp_path):
    pytest.importorskip("jax")
    (tmp_path / f"{NAME}.stablehlo").write_bytes(gpu_export.portable_artifact(PROGRAM, {1: 1}))
    (tmp_path / "bad.stablehlo").write_bytes(b"no program")
    arguments = [
        {"shape": [4], "dtype": "float32", "values": {"uniform": [-1.0, 1.0]}},
        {"shape": [], "dtype": "float32", "values": {"constant": 1.0}, "replaced_by": 1},
    ]
    flops = {"flop_per_image": 1e3, "flop_per_image_as_written": 2e3}
    for name in (NAME, "bad"):
        description = {"name": name, "batch": 4, "precision": "float32", **flops, "arguments": arguments}
        (tmp_path / f"{name}.json").write_text(json.dumps(description))
    out = tmp_path / "gpu.json"
    sizes = ["--rounds", "2", "--steps", "2", "--matrix-side", "64", "--peak-bfloat16", "1"]
    command = [sys.executable, gpu.__file__, str(tmp_path), "--out", str(out), *sizes]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1, process.stderr
    assert "| bad | failed |" in process.stdout
    results = json.loads(out.read_text())
    row = results["variants"][NAME]
    rate = row["images_per_second"]["median"]
    assert row["images_per_second"]["n"] == 2
    peak = results["matmul_flops"]["float32"]
    assert row["share_computed"] == pytest.approx(rate * 1e3 / peak)
    assert row["share_as_written"] == pytest.approx(rate * 2e3 / peak)
    assert results["peak_flops"] == {"float32": peak, "mixed_bfloat16": 1e12}
    assert "error" in results["variants"]["bad"]


def test_arguments_follow_their_descriptions():
    arguments = [
        {"shape": [2], "dtype": "int32", "values": {"constant": [3, 4]}},
        {"shape": [50], "dtype": "int32", "values": {"integers_below": 10}},
        {"shape": [1000], "dtype": "float32", "values": {"uniform": [-1.0, 1.0]}},
        {"shape": [100, 100], "dtype": "float32", "values": {"normal": [2.0, 0.5]}},
    ]
    constant, integers, uniform, normal = gpu.random_arguments({"arguments": arguments})
    assert constant.tolist() == [3, 4]
    assert set(integers) == set(range(10))
    assert (abs(uniform) <= 1).all()
    assert (normal.mean(), normal.std()) == pytest.approx((2.0, 0.5), abs=0.02)
    assert [str(array.dtype) for array in (constant, integers, uniform, normal)] == ["int32"] * 2 + ["float32"] * 2
    with pytest.raises(measuring.UsageError, match=r"expected a kind of values, found \{'prime': 3\}"):
        gpu.random_arguments({"arguments": [{"shape": [], "dtype": "int32", "values": {"prime": 3}}]})


def test_initial_values_are_summarized():
    assert gpu_export.summarize(np.full((2, 3), 0.5, np.float32)) == {"constant": 0.5}
    assert gpu_export.summarize(np.array([1.0, 3.0], np.float32)) == {"normal": [2.0, 1.0]}


def test_every_combination_is_exported():
    arguments = argparse.Namespace(
        preset="digits", batches=[2, 4], precisions=["float32", "mixed_bfloat16"], forms=["plain"], override=[]
    )
    found = gpu_export.configs(arguments)
    assert len(found) == 4
    assert found["digits_32px_batch4_mixed_bfloat16_plain"].train.global_batch == 4
    arguments.override = ["train.discriminator_updates=2"]
    with pytest.raises(UserError, match="one update of each network, found 2 and 1"):
        gpu_export.configs(arguments)


def test_wrong_input_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.stablehlo").touch()
    (tmp_path / "empty").mkdir()
    for folder, message in (
        (tmp_path / "empty", f"expected exported steps in {tmp_path / 'empty'}, found none; run gpu_export.py"),
        (tmp_path, f"expected the description of a step in {tmp_path / 'a.json'}: "),
    ):
        monkeypatch.setattr(sys, "argv", ["gpu.py", str(folder), "--out", str(tmp_path / "out.json")])
        monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: name)
        with pytest.raises(SystemExit) as raised:
            measuring.run_script(gpu.main)
        assert raised.value.code == 2
        assert capsys.readouterr().err.startswith(f"gpu.py: error: {message}")
    assert not (tmp_path / "out.json").exists()


def test_stage_on_the_gpu_needs_neither_tensorflow_nor_hamgan():
    code = "import gpu, sys; assert not {'tensorflow', 'hamgan', 'jax', 'torch'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=pathlib.Path(gpu.__file__).parent, check=True)


def test_biggan_has_the_published_number_of_parameters():
    pytest.importorskip("torch")
    import torch_biggan

    for network, count in ((torch_biggan.Generator, 70_433_988), (torch_biggan.Discriminator, 87_982_370)):
        assert sum(parameter.numel() for parameter in network(96, 64).parameters()) == count


@pytest.mark.slow
def test_biggan_trains_and_its_flop_are_ours_plus_attention():
    pytest.importorskip("torch")
    options = {
        "batch": 2,
        "precision": "float32",
        "memory_format": "channels_last",
        "warmup": 1,
        "rounds": 1,
        "steps": 1,
    }
    question = {"what": "torch", "base_channels": 8, "attention_resolution": 16, **options}
    # In a process of its own, as in the benchmark: PyTorch for CUDA does not count FLOP beside TensorFlow.
    command = [sys.executable, gpu.__file__, "no folder", "--measure", json.dumps(question)]
    found = measuring.json_of_process("BigGAN", command)
    model = override(
        gpu_export.get_preset("hamgan_strong"),
        ["model.generator.base_channels=8", "model.discriminator.base_channels=8"],
    ).model
    assert 1.0 < found["flop_per_image"] / step_cost.step_flops(model) < 1.05
    assert found["images_per_second"]["median"] > 0


@pytest.mark.slow
def test_memory_of_biggan_is_measured_without_tensorflow():
    pytest.importorskip("torch")
    code = "import sys, train; train.measure_biggan(batch=1, steps=1); assert 'tensorflow' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=pathlib.Path(gpu.__file__).parent, check=True)
