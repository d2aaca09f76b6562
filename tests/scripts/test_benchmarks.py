"""The shared parts of the benchmarks, their formulas and their pages."""

import argparse
import importlib.util
import json
import os
import pathlib
import sys

import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import benchmarking
import layers
import report
import step_bytes
import step_cost
import train

from hamgan.config import override
from hamgan.config.presets import digits, hamgan_strong
from hamgan.errors import UserError
from hamgan.networks.build import build_discriminator, build_generator

CHECKOUT = pathlib.Path(__file__).parents[2]
MEGABYTE = 1_000_000


def python(code):
    return [sys.executable, "-S", "-c", code]


def test_variants_are_interleaved_in_alternating_order(tmp_path):
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
        ("import sys; sys.exit('one\\n\\ntwo')", "^slow ended with exit code 1: one \\| two$"),
        (
            "import os; os.kill(os.getpid(), 9)",
            r"^slow ended with signal 9 \(probably out of memory\): no error output$",
        ),
        ("print('{}'); print('done')", "^expected a JSON object in the last line of slow, found 'done'$"),
        ("print(3)", "^expected a JSON object in the last line of slow, found '3'$"),
        ("", "^expected a JSON object in the last line of slow, found nothing$"),
    ],
)
def test_failed_process_is_reported_in_one_line(code, message):
    with pytest.raises(benchmarking.BenchmarkError, match=message) as raised:
        benchmarking.interleaved({"slow": python(code)}, 1)
    assert "\n" not in str(raised.value)


def test_summary_covers_all_values():
    assert benchmarking.summary([3.0, 1.0, 10.0, 2.0]) == {"median": 2.5, "min": 1.0, "max": 10.0, "n": 4}


def test_results_are_written_atomically_to_a_new_folder(tmp_path):
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


def test_peak_memory_is_read_from_proc(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nVmPeak:\t 9000 kB\nVmHWM:\t 1234 kB\nVmRSS:\t 1000 kB\n")
    assert benchmarking.peak_bytes(str(tmp_path)) == 1234 * 1024
    assert benchmarking.reset_peak(str(tmp_path))
    assert (tmp_path / "clear_refs").read_text() == "5"


def test_peak_memory_without_proc_is_that_of_getrusage(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmarking.resource, "getrusage", lambda _: argparse.Namespace(ru_maxrss=5000))
    for platform, unit in (("darwin", 1), ("freebsd", 1024)):
        monkeypatch.setattr(benchmarking.sys, "platform", platform)
        assert benchmarking.peak_bytes(str(tmp_path / "none")) == 5000 * unit
    assert not benchmarking.reset_peak(str(tmp_path / "none"))


class Allocator:
    """Replaces the allocator of TensorFlow, with its statistics in ``tf.config.experimental``."""

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
        """Needs 30 MB for a result of 10 MB."""
        self.peak = max(self.peak, self.current + 30 * MEGABYTE)
        self.current += 10 * MEGABYTE


def test_extra_memory_excludes_earlier_calls(monkeypatch):
    allocator = Allocator(monkeypatch)
    allocator.peak = 500 * MEGABYTE  # from an earlier call
    for _ in range(2):
        found = benchmarking.extra_memory(allocator.call)
        assert found == {"extra_bytes": 30 * MEGABYTE, "memory_of": "TensorFlow's allocator, CPU:0"}


@pytest.mark.parametrize("can_reset", [True, False])
def test_extra_memory_without_allocator_statistics_is_resident_memory(can_reset, monkeypatch):
    allocator = Allocator(monkeypatch, counts=False)
    monkeypatch.setattr(benchmarking, "reset_peak", lambda: can_reset)
    monkeypatch.setattr(benchmarking, "peak_bytes", lambda: allocator.peak)
    found = benchmarking.extra_memory(allocator.call)
    assert found == {"extra_bytes": 30 * MEGABYTE if can_reset else None, "memory_of": "the process"}


@pytest.mark.parametrize(
    ("factor", "is_valid"), [(0.95, True), (2.0, True), (None, True), (0.0, False), (0.5, False), (3.0, False)]
)
def test_wrong_memory_statistics_are_refused(factor, is_valid, monkeypatch):
    monkeypatch.setattr(benchmarking, "KNOWN_BYTES", 4000)
    extra = None if factor is None else int(factor * 4000)
    monkeypatch.setattr(benchmarking, "extra_memory", lambda call: {"extra_bytes": extra, "memory_of": "the process"})
    if is_valid:
        benchmarking.check_extra_memory()
    else:
        with pytest.raises(
            benchmarking.BenchmarkError, match=rf"the 4,000 bytes of a known call, found {extra:,}; memory cannot"
        ):
            benchmarking.check_extra_memory()


def multiplications(network, *inputs):
    """FLOP per image of the convolutions in the graph of a network."""
    graph = tf.function(lambda *arguments: network(*arguments, training=False)).get_concrete_function(*inputs).graph
    flops = 0
    for operation in graph.get_operations():
        if operation.type == "Conv2D":
            height, width, in_channels, _ = operation.inputs[1].shape
            flops += 2 * operation.outputs[0].shape[1:].num_elements() * height * width * in_channels
    return flops


def test_step_cost_matches_the_graphs_of_the_networks():
    without_context = ["model.generator.context=none", "model.discriminator.context=none"]
    model = override(digits(), ["model.convolution_form=plain", *without_context]).model
    labels = tf.constant([1])
    found = multiplications(build_generator(model), tf.zeros((1, model.generator.z_dim)), labels)
    assert found == sum(c.flops("plain") for c in step_cost.generator_convolutions(model))
    found = multiplications(build_discriminator(model), tf.zeros((1, 32, 32, 3)), labels)
    assert found == sum(c.flops("plain") for c in step_cost.discriminator_convolutions(model))


def test_published_step_needs_148_gflop_per_image_as_written():
    model = hamgan_strong().model
    assert step_cost.step_flops(model) / 1e9 == pytest.approx(147.7, abs=0.1)
    assert step_cost.step_flops(model, "strided") / 1e9 == pytest.approx(96.7, abs=0.1)
    assert step_cost.step_flops(model, "auto") < step_cost.step_flops(model, "strided")


def test_the_forms_of_a_layer_are_measured_in_turns_and_none_twice(monkeypatch):
    found = {
        "generator/alone": step_cost.Convolution("alone", 4, 3, 2, 2, None),
        "discriminator/down": step_cost.Convolution("down", 4, 3, 2, 2, "down"),
    }
    monkeypatch.setattr(layers, "convolutions", lambda model: found)
    order = []
    passes = layers._passes

    def recorded(layer, batch, form):
        return {
            part: lambda part=part, call=call: (order.append((layer.name, form, part)), call())
            for part, call in passes(layer, batch, form).items()
        }

    monkeypatch.setattr(layers, "_passes", recorded)
    seconds = layers.measure("digits", 1, layers.FORMS, 1)["seconds"]
    assert {form: set(by_layer) for form, by_layer in seconds.items()} == {form: set(found) for form in layers.FORMS}
    assert seconds["strided"]["generator/alone"] == seconds["plain"]["generator/alone"]
    assert all(value > 0 for by_layer in seconds.values() for parts in by_layer.values() for value in parts.values())
    expected = [
        (layer, form, part)
        for layer, forms in (("alone", ("plain", "products")), ("down", layers.FORMS))
        for _ in range(2)
        for form in forms
        for part in layers.PASSES
    ]
    assert order == expected


def test_unknown_forms_are_refused_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["layers.py", "--forms", "fft"])
    with pytest.raises(SystemExit) as raised:
        layers.main()
    assert raised.value.code == 2
    assert "invalid choice: 'fft'" in capsys.readouterr().err


def test_bytes_are_those_of_the_operations_that_results_and_state_need():
    variable = tf.Variable(tf.zeros((8, 16)))

    @tf.function(autograph=False)
    def function(x):
        tf.exp(x)  # not needed
        doubled = tf.reshape(x + x, (16, 8))  # reads 2 x 512 bytes, writes 512
        variable.assign(tf.transpose(doubled))  # 2 x 512, and 512 more into the variable
        return tf.slice(doubled, (0, 0), (4, 8))  # 2 x 128

    traced = function.get_concrete_function(tf.TensorSpec((8, 16)))
    small = 2 * 4 * 3  # the permutation, and where the slice begins and how large it is
    assert step_bytes.bytes_moved(traced.graph, traced.outputs) == pytest.approx(3 * 512 + 3 * 512 + 2 * 128, abs=small)


def test_adam_reads_and_writes_a_variable_and_two_averages():
    variables = [tf.Variable(tf.zeros((64,)), name=name) for name in ("variable", "m", "v")]

    @tf.function(autograph=False)
    def update(gradient):
        tf.raw_ops.ResourceApplyAdam(
            **{name: variable.handle for name, variable in zip(("var", "m", "v"), variables, strict=True)},
            **dict.fromkeys(("beta1_power", "beta2_power", "lr", "beta1", "beta2", "epsilon"), 0.5),
            grad=gradient,
        )

    graph = update.get_concrete_function(tf.TensorSpec((64,))).graph
    assert step_bytes.bytes_moved(graph, []) == 7 * 256 + 6 * 4


def test_every_combination_is_a_variant_with_a_valid_config():
    arguments = argparse.Namespace(
        presets=["digits"],
        resolutions=[32, 64],
        batches=[8],
        accumulations=[1, 4],
        precisions=["float32", "mixed_bfloat16"],
        forms=["plain", "auto"],
        xla=["off"],
        modules=["on", "off"],
        inputs=["memory", "files"],
        dataset=None,
        data_dir="records",
        torch=True,
    )
    rows = train.variants(arguments)
    biggan = rows.pop("BigGAN in PyTorch batch 8")
    assert len(rows) == 64
    common, own = train.labels({"ours": next(iter(rows.values())) | {"preset": "hamgan_strong"}, "BigGAN": biggan})
    assert "batch 8" in common
    assert own == ["32px, plain", "128px, BigGAN in PyTorch"]
    assert {override(digits(), row["overrides"]).train.accumulation for row in rows.values()} == {1, 4}
    assert {row["resolution"] for row in rows.values()} == {32, 64}
    assert all(row["flop_per_image"] <= row["flop_per_image_as_written"] for row in rows.values())
    without = override(digits(), next(row["overrides"] for row in rows.values() if row["module"] == "off"))
    assert without.model.generator.context == without.model.discriminator.context == ()
    read = override(digits(), next(row["overrides"] for row in rows.values() if row["inputs"] == "files"))
    assert read.data.data_dir == "records"


def test_training_benchmark_without_torch_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else name)
    monkeypatch.setattr(sys, "argv", ["train.py", "--torch"])
    with pytest.raises(UserError, match=r"--torch needs the package torch, found none; pip install 'hamgan\[torch\]'"):
        train.main()


def test_results_are_written_and_redrawn(tmp_path, capsys):
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
        (
            True,
            UserError("expected results in {out}: No such file or directory; run the benchmark without --redraw"),
            2,
        ),
    ],
)
def test_failed_benchmark_writes_one_line_and_no_files(redraw, error, code, tmp_path, capsys):
    def measure():
        raise error

    arguments = argparse.Namespace(out=f"{tmp_path}/a.json", page=f"{tmp_path}/a.md", redraw=redraw)
    with pytest.raises(SystemExit) as raised:
        benchmarking.run_script(lambda: benchmarking.run(arguments, measure, lambda *_: "", lambda *_: None))
    assert raised.value.code == code
    word = "error" if code == 2 else "failed"
    assert capsys.readouterr().err.endswith(f": {word}: {str(error).format(out=arguments.out)}\n")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("option", ["out", "page"])
def test_unwritable_outputs_are_refused_before_measuring(option, tmp_path):
    arguments = argparse.Namespace(out=f"{tmp_path}/a.json", page=f"{tmp_path}/a.md", redraw=False)
    (tmp_path / "file").touch()
    setattr(arguments, option, f"{tmp_path}/file/x")
    with pytest.raises(OSError, match="File exists"):
        benchmarking.run(arguments, lambda: pytest.fail("measured"), lambda *_: "", lambda *_: None)
    setattr(arguments, option, str(tmp_path))
    with pytest.raises(UserError, match=rf"--{option} .* is a folder"):
        benchmarking.run(arguments, lambda: pytest.fail("measured"), lambda *_: "", lambda *_: None)
    assert os.listdir(tmp_path) == ["file"]


def test_committed_pages_match_the_committed_results():
    pages = report.render(str(CHECKOUT))
    assert pages == {path: (CHECKOUT / path).read_text(encoding="utf-8") for path in pages}
    results = {path.stem for path in (CHECKOUT / report.FOLDER).glob("*.json")}
    assert results == set(report.PAGES)


def test_pages_show_the_results():
    pages = report.render(str(CHECKOUT))
    results = {name: json.loads((CHECKOUT / report.FOLDER / f"{name}.json").read_text()) for name in report.PAGES}
    for name, result in results.items():
        page = pages[f"{report.FOLDER}/{name}.md"]
        assert f"`{result['command']}`" in page
        assert result["device"] in page
        assert f"tensorflow {result['versions']['tensorflow']}" in page
        assert f"({name}.png)" in page
    speed = next(iter(results["train"]["variants"].values()))["images_per_second"]
    assert f"| {speed['median']:.2f} ({speed['min']:.2f}-{speed['max']:.2f}) |" in pages["docs/benchmarks/train.md"]
    assert f"| plain | 8 | {speed['median']:.2f} |" in pages[report.SUMMARY]
    reading = {name: row["images_per_second"]["median"] for name, row in results["data"]["reading"].items()}
    assert f"| {reading['fast'] / reading['original']:.2f} |" in pages["docs/benchmarks/data.md"]
    assert f"| imagenet_hamgan/128 | {reading['fast']:,.0f} |" in pages[report.SUMMARY]
    seconds = results["eval"]["stages"]["scores"]["seconds"]
    assert f"| scores | {seconds:.1f} |" in pages["docs/benchmarks/eval.md"]


@pytest.mark.parametrize("name", report.PAGES)
def test_figures_are_drawn(name, tmp_path):
    script = sys.modules[report.PAGES[name].__module__.replace("context_page", "context")]
    results = benchmarking.read_json(str(CHECKOUT / report.FOLDER / f"{name}.json"))
    text = benchmarking.publish(results, str(tmp_path / f"{name}.md"), script.page, script.draw)
    assert (tmp_path / f"{name}.md").read_text() == text
    assert (tmp_path / f"{name}.png").stat().st_size > 5_000
