"""What the benchmark scripts share, and the formulas of what they do not measure."""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "scripts"))

import bench_context
import bench_data
import bench_eval
import bench_profile
import bench_train
import benchmarking
import step_cost

from hamgan.config import override
from hamgan.config.presets import digits, hamgan_strong
from hamgan.errors import UserError
from hamgan.networks.build import build_discriminator, build_generator

MEGABYTE = 1_000_000


def python(code):
    return [sys.executable, "-S", "-c", code]


def test_variants_take_turns_there_and_back(tmp_path):
    log = tmp_path / "log"
    code = (
        "import json, sys; open({log!r}, 'a').write({name!r}); print('noise'); print(json.dumps({{'name': {name!r}}}))"
    )
    commands = {name: python(code.format(log=str(log), name=name)) for name in "ABC"}
    results = benchmarking.interleaved(commands, 3)
    assert log.read_text() == "ABCCBAABC"
    assert results == {name: [{"name": name}] * 3 for name in "ABC"}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('one\\n\\ntwo')", "^slow ended with exit code 1: one | two$"),
        ("import os; os.kill(os.getpid(), 9)", "^slow ended with signal 9, as if memory had run out: nothing on"),
        ("print('{}'); print('done')", "^expected slow to print a JSON object in its last line, found 'done'$"),
        ("print(3)", "^expected slow to print a JSON object in its last line, found '3'$"),
        ("", "^expected slow to print a JSON object in its last line, found nothing$"),
    ],
)
def test_a_run_that_fails_is_told_in_one_line(code, message):
    with pytest.raises(benchmarking.BenchmarkError, match=message.replace("|", r"\|")) as raised:
        benchmarking.interleaved({"slow": python(code)}, 1)
    assert "\n" not in str(raised.value)


def test_summary_is_of_all_values():
    assert benchmarking.summary([3.0, 1.0, 10.0, 2.0]) == {"median": 2.5, "min": 1.0, "max": 10.0, "n": 4}


def test_results_are_written_whole_into_a_new_folder(tmp_path):
    path = tmp_path / "new" / "results.json"
    benchmarking.write_json(str(path), {"a": 1})
    benchmarking.write_json(str(path), {"a": 2})
    assert json.loads(path.read_text()) == {"a": 2}
    with pytest.raises(TypeError):
        benchmarking.write_json(str(path), {"a": object()})
    assert json.loads(path.read_text()) == {"a": 2}
    assert os.listdir(path.parent) == ["results.json"]


def test_environment_names_device_and_versions():
    environment = benchmarking.environment()
    assert f"{len(os.sched_getaffinity(0))} cores" in environment["device"]
    assert environment["versions"]["tensorflow"] == tf.__version__
    assert set(environment["versions"]) == {"python", "tensorflow", "keras", "numpy"}


def test_the_peak_is_what_linux_says_of_the_process(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t 9000 kB\nVmHWM:\t 1234 kB\nVmRSS:\t 1000 kB\n")
    assert benchmarking.peak_bytes(str(tmp_path)) == 1234 * 1024
    assert benchmarking.reset_peak(str(tmp_path))
    assert (tmp_path / "clear_refs").read_text() == "5"


def test_elsewhere_the_peak_is_that_of_the_whole_process_and_cannot_be_reset(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarking.resource, "getrusage", lambda _: argparse.Namespace(ru_maxrss=5000))
    for platform, unit in (("darwin", 1), ("freebsd", 1024)):
        monkeypatch.setattr(benchmarking.sys, "platform", platform)
        assert benchmarking.peak_bytes(str(tmp_path / "none")) == 5000 * unit
    assert not benchmarking.reset_peak(str(tmp_path / "none"))


class Allocator:
    """Stands in for TensorFlow's: counts what it gave out, as ``tf.config.experimental`` says."""

    def __init__(self, monkeypatch, *, counts=True):
        self.current = self.peak = 7 * MEGABYTE
        monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", self.reset if counts else self.refuse)
        monkeypatch.setattr(
            tf.config.experimental, "get_memory_info", lambda _: {"current": self.current, "peak": self.peak}
        )
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])

    def reset(self, device):
        assert device == "CPU:0"
        self.peak = self.current

    def refuse(self, device):
        raise ValueError("Allocator stats not available for device")

    def call(self):
        """Needs 30 MB for a result of 10."""
        self.peak = max(self.peak, self.current + 30 * MEGABYTE)
        self.current += 10 * MEGABYTE


def test_extra_memory_is_that_of_the_call(monkeypatch):
    allocator = Allocator(monkeypatch)
    allocator.peak = 500 * MEGABYTE  # of an earlier call
    for _ in range(2):
        found = benchmarking.extra_memory(allocator.call)
        assert found == {"extra_bytes": 30 * MEGABYTE, "memory_of": "TensorFlow's allocator, CPU:0"}


@pytest.mark.parametrize("can_reset", [True, False])
def test_where_no_allocator_counts_extra_memory_is_that_of_the_process(can_reset, monkeypatch):
    allocator = Allocator(monkeypatch, counts=False)
    monkeypatch.setattr(benchmarking, "reset_peak", lambda: can_reset)
    monkeypatch.setattr(benchmarking, "peak_bytes", lambda: allocator.peak)
    found = benchmarking.extra_memory(allocator.call)
    assert found == {"extra_bytes": 30 * MEGABYTE if can_reset else None, "memory_of": "the process"}


@pytest.mark.parametrize(
    ("factor", "is_seen"), [(0.95, True), (2.0, True), (None, True), (0.0, False), (0.5, False), (3.0, False)]
)
def test_memory_that_is_not_seen_is_not_reported(factor, is_seen, monkeypatch):
    monkeypatch.setattr(benchmarking, "KNOWN_BYTES", 4000)
    extra = None if factor is None else int(factor * 4000)
    monkeypatch.setattr(benchmarking, "extra_memory", lambda call: {"extra_bytes": extra, "memory_of": "the process"})
    if is_seen:
        benchmarking.check_extra_memory()
    else:
        with pytest.raises(benchmarking.BenchmarkError, match=rf"needs 4,000 bytes .* found {extra:,}; memory cannot"):
            benchmarking.check_extra_memory()


def products(graph):
    """Multiply-adds of a graph's convolutions and batched products; those of spectral norms are of matrices alone."""
    total = 0
    for op in graph.get_operations():
        if op.type == "BatchMatMulV2":
            shape = op.inputs[0].shape
            total += op.outputs[0].shape.num_elements() * int(shape[-2] if op.get_attr("adj_x") else shape[-1])
        elif op.type == "Conv2D":
            total += op.outputs[0].shape.num_elements() * int(op.inputs[0].shape[-1])
    return total


@pytest.mark.parametrize("variant", bench_context.VARIANTS)
def test_multiply_adds_are_those_of_the_graph(variant):
    size, channels = 6, 32
    layer = bench_context.build_layer(variant, channels)  # which compares its parameters with the formula
    run = tf.function(lambda x: layer(x, training=False))
    graph = run.get_concrete_function(tf.TensorSpec((1, size, size, channels))).graph
    expected = bench_context.multiply_adds(variant, size**2, channels)
    if variant == "cd":
        rank = channels // bench_context.RANK_DIVISOR
        expected -= channels * rank**2 + rank**3 // 6  # the solution, no product
    assert products(graph) == expected


def test_exponents_are_those_of_the_three_largest_sizes():
    rows = [
        {
            "variant": "nmf",
            "size": size,
            "positions": size**2,
            "mode": "training",
            "seconds": {"median": 1.0 if size == 2 else 3e-6 * size**4},
            "extra_bytes": {"median": 5.0 * size**2},
        }
        for size in (16, 2, 8, 4)
    ]
    rows.append({"variant": "nmf", "size": 32, "positions": 1024, "mode": "training", "skipped": "needs 1 GB"})
    fitted = bench_context.exponents(rows)
    assert fitted["training"]["nmf"] == pytest.approx({"seconds": 2.0, "extra_bytes": 1.0})
    assert fitted["inference"]["nmf"] == {"seconds": None, "extra_bytes": None}


def multiplications(network, *inputs):
    """FLOP of the convolutions in a network's traced forward pass, per image."""
    graph = tf.function(lambda *arguments: network(*arguments, training=False)).get_concrete_function(*inputs).graph
    flops = 0
    for operation in graph.get_operations():
        if operation.type == "Conv2D":
            height, width, in_channels, _ = operation.inputs[1].shape
            flops += 2 * operation.outputs[0].shape[1:].num_elements() * height * width * in_channels
    return flops


def test_formulas_count_the_networks_convolutions():
    model = override(digits(), ["model.convolution_form=plain"]).model
    model = dataclasses.replace(
        model,
        generator=dataclasses.replace(model.generator, hamburger=None),
        discriminator=dataclasses.replace(model.discriminator, hamburger=None),
    )
    labels = tf.constant([1])
    found = multiplications(build_generator(model), tf.zeros((1, model.generator.z_dim)), labels)
    assert found == sum(c.flops("plain") for c in step_cost.generator_convolutions(model))
    found = multiplications(build_discriminator(model), tf.zeros((1, 32, 32, 3)), labels)
    assert found == sum(c.flops("plain") for c in step_cost.discriminator_convolutions(model))


def test_the_published_step_takes_148_gflop_an_image_as_written():
    model = hamgan_strong().model
    assert step_cost.step_flops(model) / 1e9 == pytest.approx(147.7, abs=0.1)
    assert step_cost.step_flops(model, "strided") / 1e9 == pytest.approx(96.7, abs=0.1)
    assert step_cost.step_flops(model, "auto") < step_cost.step_flops(model, "strided")


def test_every_combination_is_a_variant_whose_config_is_valid():
    arguments = argparse.Namespace(
        presets=["digits"],
        resolutions=[32, 64],
        batches=[8],
        precisions=["float32", "mixed_bfloat16"],
        forms=["plain", "auto"],
        xla=["off"],
        modules=["on", "off"],
        inputs=["memory", "files"],
        dataset=None,
        data_dir="records",
    )
    rows = bench_train.variants(arguments)
    assert len(rows) == 32
    assert {row["resolution"] for row in rows.values()} == {32, 64}
    assert all(row["flop_per_image"] <= row["flop_per_image_as_written"] for row in rows.values())
    without = override(digits(), next(row["overrides"] for row in rows.values() if row["module"] == "off"))
    assert without.model.generator.hamburger is None
    read = override(digits(), next(row["overrides"] for row in rows.values() if row["inputs"] == "files"))
    assert read.data.data_dir == "records"


@pytest.mark.parametrize(
    ("operation", "layer", "is_backward"),
    [
        ("while/generator_3/block1_1/conv2_1/MatMul_4", "generator block1 conv2", False),
        ("while/gradient_tape/generator_3/block1_1/conv2_1/MatMul_4", "generator block1 conv2", True),
        ("gradient_tape/discriminator_1/hamburger_1/ham_1/mul", "discriminator hamburger ham", True),
        ("generator_1/to_rgb_1/Conv2D", "generator to_rgb", False),
        ("generator_1/Tanh", "generator", False),
        ("while/discriminator_optimizer/ResourceApplyAdam_3", "discriminator's Adam", False),
        ("while/StatelessRandomNormalV2", "everything else", False),
    ],
)
def test_operations_belong_to_the_layer_in_their_name(operation, layer, is_backward):
    assert bench_profile.layer_of(operation) == (layer, is_backward)


def test_profiled_time_is_counted_once_by_layer_and_once_by_kind():
    seconds = {
        "generator_1/block1_1/conv1_1/Conv2D:Conv2D": 3.0,
        "gradient_tape/generator_1/block1_1/conv1_1/mul:Mul": 2.0,
        "generator_3/norm_1/mul_2:Mul": 4.0,
    }
    assert bench_profile.by_layer(seconds) == {
        "generator block1 conv1": {"forward": 3.0, "backward": 2.0},
        "generator norm": {"forward": 4.0, "backward": 0.0},
    }
    assert bench_profile.by_kind(seconds) == {"Mul": 6.0, "Conv2D": 3.0}


def test_profiles_are_read_by_operation(tmp_path):
    @tf.function
    def function(matrix):
        with tf.name_scope("generator"), tf.name_scope("norm"):
            return tf.matmul(matrix, matrix)

    matrix = tf.ones((200, 200))
    function(matrix)
    tf.profiler.experimental.start(str(tmp_path))
    function(matrix)
    tf.profiler.experimental.stop()
    layers = bench_profile.by_layer(bench_profile.read_profile(str(tmp_path)))
    # How long it took is for the clock to say.
    assert layers["generator norm"].keys() == {"forward", "backward"}


def test_results_are_written_shown_and_drawn_again(tmp_path, capsys):
    arguments = argparse.Namespace(out=f"{tmp_path}/a.json", page=f"{tmp_path}/a.md", redraw=False)

    def page(results, figure):
        return f"{results['answer']} {figure}"

    def draw(results, path):
        pathlib.Path(path).write_text(str(results["answer"]))

    benchmarking.run(arguments, lambda: {"answer": 42}, page, draw)
    assert capsys.readouterr().out == "42 a.png\n"
    assert {"command", "device", "versions", "answer"} == set(json.loads((tmp_path / "a.json").read_text()))
    assert (tmp_path / "a.md").read_text() == "42 a.png"
    assert (tmp_path / "a.png").read_text() == "42"
    again = argparse.Namespace(out=arguments.out, page=f"{tmp_path}/b.md", redraw=True)
    benchmarking.run(again, lambda: pytest.fail("measured"), page, draw)
    assert (tmp_path / "b.md").read_text() == "42 b.png"


@pytest.mark.parametrize(
    ("redraw", "error", "code"),
    [
        (False, UserError("no such preset"), 2),
        (False, benchmarking.BenchmarkError("slow ended with exit code 1"), 1),
        (True, UserError("expected the results to draw at {out}: No such file or directory; measure first"), 2),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_leaves_nothing(redraw, error, code, tmp_path, capsys):
    def measure():
        raise error

    arguments = argparse.Namespace(out=f"{tmp_path}/a.json", page=f"{tmp_path}/a.md", redraw=redraw)
    with pytest.raises(SystemExit) as raised:
        benchmarking.run_script(lambda: benchmarking.run(arguments, measure, lambda *_: "", lambda *_: None))
    assert raised.value.code == code
    said = "error" if code == 2 else "failed"
    assert capsys.readouterr().err.endswith(f": {said}: {str(error).format(out=arguments.out)}\n")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("option", ["out", "page"])
def test_results_that_could_not_be_written_are_not_measured(option, tmp_path):
    arguments = argparse.Namespace(out=f"{tmp_path}/a.json", page=f"{tmp_path}/a.md", redraw=False)
    (tmp_path / "file").touch()
    setattr(arguments, option, f"{tmp_path}/file/x")
    with pytest.raises(OSError, match="File exists"):
        benchmarking.run(arguments, lambda: pytest.fail("measured"), lambda *_: "", lambda *_: None)
    setattr(arguments, option, str(tmp_path))
    with pytest.raises(UserError, match=rf"--{option} .* is a folder"):
        benchmarking.run(arguments, lambda: pytest.fail("measured"), lambda *_: "", lambda *_: None)
    assert os.listdir(tmp_path) == ["file"]


PROVENANCE = {"command": "python bench.py", "device": "a device", "versions": {"tensorflow": "2.0"}}
PAGES = {
    "data": (
        bench_data,
        {
            "config": {"images": 30_000, "source_bytes": 3.2e9, "repeats": 5},
            "preparation": {
                name: {"images_per_second": benchmarking.summary([speed])}
                for name, speed in (("stock", 1_000), ("hamgan_structure", 2_500), ("hamgan_full", 1_500))
            },
            "reading": {
                name: {"images_per_second": benchmarking.summary([speed])}
                for name, speed in (("original", 1_000), ("fast", 7_000))
            },
        },
        ["30,000 images in tars of 3.2 GB", "| `hamgan prepare imagenet` | 2,500 (2,500-2,500) | 2.50 |", "| 7.00 |"],
    ),
    "eval": (
        bench_eval,
        {
            "config": {"images": 50_000, "width": 2_048, "classes": 1_008, "neighbors": 10_000, "bootstrap": 2},
            "stages": {"scores": {"seconds": 62.04, "peak_bytes": 3.1e9}},
        },
        ["50,000 fakes", "| scores | 62.0 | 3.10 GB |"],
    ),
    "profile": (
        bench_profile,
        {
            "step_seconds": 4.1,
            "layers": {"generator norm": {"forward": 3.0, "backward": 1.0}},
            "kinds": {"Mul": 3.0, "Conv2D": 1.0},
        },
        ["4.10 s a step", "| generator norm | 3000 | 1000 | 100.0 % |", "| Conv2D | 1000 | 25.0 % |"],
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_say_what_was_measured_and_show_it(name, tmp_path):
    script, results, expected = PAGES[name]
    path = tmp_path / "page.md"
    text = benchmarking.publish({**PROVENANCE, **results}, str(path), script.page, script.draw)
    assert path.read_text() == text
    for part in ["`python bench.py`, on a device; tensorflow 2.0.", "(page.png)", *expected]:
        assert part in text
    assert (tmp_path / "page.png").stat().st_size > 5_000
