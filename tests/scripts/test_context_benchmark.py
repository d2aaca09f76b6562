"""The benchmark of context modules: formulas against the layers, what fits in memory, and the page."""

import argparse
import dataclasses
import json
import math
import pathlib
import sys

import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import benchmarking
import context
import context_modules
import context_page
import report
from context_modules import Cost

from hamgan.errors import UserError
from hamgan.networks.context import CONTEXT_MODULES

CHANNELS = 32


def products(graph):
    """Multiply-adds of convolutions (1x1) and batched products; spectral norms use unbatched products."""
    total = 0
    for op in graph.get_operations():
        if op.type == "BatchMatMulV2":
            shape = op.inputs[0].shape
            total += op.outputs[0].shape.num_elements() * int(shape[-2] if op.get_attr("adj_x") else shape[-1])
        elif op.type == "Conv2D":
            assert op.inputs[1].shape[:2] == (1, 1)
            total += op.outputs[0].shape.num_elements() * int(op.inputs[0].shape[-1])
        elif op.type == "Einsum":
            terms = op.get_attr("equation").decode().partition("->")[0].split(",")
            lengths: dict[str, int] = {}
            for term, operand in zip(terms, op.inputs, strict=True):
                lengths.update(zip(term, operand.shape, strict=True))
            total += math.prod(lengths.values())
    return total


def test_every_context_module_is_compared():
    assert {variant.module for variant in context_modules.VARIANTS.values()} == set(CONTEXT_MODULES)
    groups = [variant.group for variant in context_modules.VARIANTS.values()]
    assert list(dict.fromkeys(groups)) == list(context_modules.GROUPS)
    assert groups == sorted(groups, key=list(context_modules.GROUPS).index)


@pytest.mark.parametrize("variant", context_modules.VARIANTS)
def test_formulas_match_the_layer_and_its_graph(variant):
    layer = context_modules.build_layer(variant, CHANNELS)
    cost = context_modules.VARIANTS[variant].cost
    singular_vectors = sum(weight.shape[0] for weight in layer.weights if weight.name == "u")
    assert layer.count_params() == cost(1, CHANNELS).parameters + cost(1, CHANNELS).untrained + singular_vectors
    assert sum(weight.shape.num_elements() for weight in layer.trainable_variables) == cost(1, CHANNELS).parameters
    run = tf.function(lambda x: layer(x, training=False))
    # The linear solver of concept decomposition is no product.
    rank = CHANNELS // context_modules.RANK_DIVISOR
    solver = CHANNELS * rank**2 + rank**3 // 6 if variant == "cd" else 0
    for size in (6, 16):
        graph = run.get_concrete_function(tf.TensorSpec((1, size, size, CHANNELS))).graph
        assert products(graph) == cost(size, CHANNELS).multiply_adds - solver
    # The estimate of memory starts from the largest matrices.
    scores = cost(size, CHANNELS).scores
    largest = max(
        x.shape.num_elements() for op in graph.get_operations() for x in op.outputs if x.shape.is_fully_defined()
    )
    if context_modules.VARIANTS[variant].group == "pairs":
        assert largest == scores
    else:
        assert max(scores, size**2 * CHANNELS) <= largest <= 2 * max(scores, size**2 * CHANNELS)


def test_wide_attention_at_the_size_of_the_paper_needs_292_billion_multiply_adds():
    cost = context_modules.VARIANTS["wide_attention"].cost(128, 512)
    assert cost.multiply_adds == 4 * 128**2 * 512**2 + 2 * 128**4 * 512 == 292_057_776_128
    assert cost.parameters == 1_048_577
    # Four copies of a matrix of 16384 x 16384 and of the feature map.
    assert context_modules.needed_bytes("wide_attention", 128, 512, "training") == 16 * (16384**2 + 16384 * 512)


def test_wrong_formula_is_refused(monkeypatch):
    wrong = dataclasses.replace(context_modules.VARIANTS["channel_attention"], cost=lambda *_, **__: Cost(2, 1))
    monkeypatch.setitem(context_modules.VARIANTS, "channel_attention", wrong)
    with pytest.raises(
        benchmarking.BenchmarkError, match=r"channel_attention to have 2 trained and 0 other .* found 1 and 0"
    ):
        context_modules.build_layer("channel_attention", 16)


def test_process_measures_all_cases_of_a_module():
    cases = [(4, "inference"), (4, "training")]
    settings = {"channels": 16, "xla": False}
    results = context.measure("channel_attention", cases, calls=2, seconds=60.0, **settings)
    assert list(results) == ["4x4 inference", "4x4 training"]
    for result in results.values():
        assert result["calls"] == 2
        assert result["seconds"] > 0
        assert result["extra_bytes"] is None or result["extra_bytes"] >= 0
    assert (
        context.measure("nmf", cases[:1], channels=16, calls=9, seconds=0.0, xla=False)["4x4 inference"]["calls"] == 1
    )


def arguments(**changes):
    settings = {
        "sizes": [8, 2, 4],
        "channels": 16,
        "calls": 3,
        "seconds": 1.0,
        "repeats": 2,
        "xla": False,
        "add": False,
    }
    return argparse.Namespace(**{**settings, "variants": ["nmf", "wide_attention", "global_context"], **changes})


@pytest.fixture
def measure_all(monkeypatch):
    """Measures without processes: time is 1 ms x number of positions, and attention does not fit at 8x8 in training."""
    needed = context_modules.needed_bytes("wide_attention", 8, 16, "training")
    monkeypatch.setattr(benchmarking, "available_memory_bytes", lambda: needed)

    def interleaved(commands, repeats):
        measured = {}
        for variant, command in commands.items():
            start = command.index("--measure")
            assert command[start + 1] == variant
            cases = [tuple(case.split(":")) for case in command[start + 2 : command.index("--channels")]]
            measured[variant] = [
                {
                    context.case_name(int(size), mode): {
                        "seconds": 1e-3 * int(size) ** 2 * factor,
                        "extra_bytes": 1000.0 * int(size) ** 4,
                        "memory_of": "the process",
                        "calls": 3,
                    }
                    for size, mode in cases
                }
                for factor in (1, 3)[:repeats]
            ]
        return measured

    monkeypatch.setattr(benchmarking, "interleaved", interleaved)
    environment = {"command": "python context.py", "device": "a CPU", "versions": {"python": "3"}}
    monkeypatch.setattr(benchmarking, "environment", lambda: environment)
    return lambda arguments: json.loads(json.dumps({**environment, **context.measure_all(arguments)}))


@pytest.fixture
def results(measure_all):
    return measure_all(arguments())


def test_what_does_not_fit_is_listed_and_not_measured(results):
    skipped = [row for row in results["measurements"] if "skipped" in row]
    assert [(row["variant"], row["size"], row["mode"]) for row in skipped] == [("wide_attention", 8, "training")]
    assert skipped[0]["skipped"].startswith("needs up to 0.0 GB, ")
    assert len(results["measurements"]) == 3 * 3 * 2
    measured = next(row for row in results["measurements"] if (row["variant"], row["size"]) == ("nmf", 4))
    assert measured["seconds"] == pytest.approx({"median": 32e-3, "min": 16e-3, "max": 48e-3, "n": 2})


def test_processes_are_added_to_earlier_results(measure_all, results, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(results))
    added = measure_all(arguments(out=str(path), add=True, repeats=1))
    assert added["config"]["repeats"] == 3
    assert added["formulas"] == results["formulas"]
    for row, before in zip(added["measurements"], results["measurements"], strict=True):
        assert row.get("skipped") == before.get("skipped")
        if "skipped" not in row:
            assert row["runs"] == [*before["runs"], before["runs"][0]]
            assert row["seconds"]["median"] == row["runs"][0]["seconds"]
            assert row["seconds"]["n"] == 3


@pytest.mark.parametrize(("changes", "name"), [({"calls": 4}, "config"), ({"sizes": [2, 4]}, "formulas")])
def test_processes_are_not_added_to_other_results(changes, name, measure_all, results, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(results))
    with pytest.raises(
        UserError, match=rf"^expected results of the same .*, found other {name}; measure without --add"
    ):
        measure_all(arguments(out=str(path), add=True, **changes))


def test_exponents_are_fitted_to_the_three_largest_sizes():
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
    fitted = context_page.exponents(rows)
    assert fitted["training"]["nmf"] == pytest.approx({"seconds": 2.0, "extra_bytes": 1.0})
    assert fitted["inference"]["nmf"] == {"seconds": None, "extra_bytes": None}


def test_page_shows_every_module_at_every_size(results):
    text = context_page.page(results, "figure.png")
    # 4x4 is the largest size at which everything fits.
    assert "## At 4x4" in text
    assert "| `nmf` | 513 | 17 K | 32 ms | 32 ms | 0.256 MB | 0.256 MB |" in text
    assert "| `wide_attention` | 1 | 1 | 1 | 1 |" in text
    assert "- `wide_attention`, training: needs up to" in text
    assert "| `wide_attention` | 128 ms (64 to 192) | does not fit | 4.1 MB | does not fit |" in text
    assert "| `wide_attention` | N^1.00 | - | N^2.00 | - |" in text
    assert [line for line in text.splitlines() if line.startswith("### ")] == ["### 2x2", "### 4x4", "### 8x8"]


def test_summary_names_modules_and_what_does_not_fit(results):
    results["measurements"] = [row for row in results["measurements"] if row["size"] == 8]
    size, table = report.modules(results)
    assert size == 8
    assert "| Hamburger, NMF | 128 ms | 4.1 MB | N^1.00 | N^2.00 |" in table
    assert "| self-attention of full width, no pooling | does not fit | does not fit | - | - |" in table
