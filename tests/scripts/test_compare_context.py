"""The comparison of context modules: arms, statistics, spectra, queue and page."""

import json
import math
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))

import compare_context
import context_modules
from context_lab import arms, job_queue, lab_figures, lab_page, one_run, seed_statistics, spectra
from context_lab.job import Job
from context_lab.multiply_adds import multiply_adds

from hamgan.config import override
from hamgan.config.presets import digits
from hamgan.errors import FailedError, UserError
from hamgan.networks import Discriminator, Generator
from hamgan.networks.context import CONTEXT_MODULES

CHECKOUT = pathlib.Path(__file__).parents[2]


def test_default_arms_cover_every_context_module():
    options = compare_context.parser().parse_args(["--folder", "lab"])
    config = override(digits(), compare_context.SHORT_DIGITS)
    planned = compare_context.plan(options, config)
    used = {}
    for each in planned:
        model = override(config, each.arm.overrides(config)).model
        used[each.arm.name] = (model.generator.context, model.discriminator.context)
    assert used["none"] == ((), ())
    modules = {name: {module.module for network in networks for module in network} for name, networks in used.items()}
    assert set().union(*modules.values()) == set(CONTEXT_MODULES)
    assert all(len(names) == 1 for name, names in modules.items() if name != "none")
    assert [each.arm.name for each in planned if each.kind == "compared"] == [
        "none",
        "nmf",
        "cd",
        "vq",
        "self_attention",
    ]
    assert {each.arm.name for each in planned if each.kind == "module"} == set(CONTEXT_MODULES) - {
        "hamburger",
        "self_attention",
    }
    settings = {each.arm.name: used[each.arm.name] for each in planned if each.kind == "setting"}
    assert [module.num_steps for (module,) in settings["K=3"]] == [3, 3]
    assert [module.rank for (module,) in settings["R=16"]] == [16, 16]
    assert [module.latent_dim for (module,) in settings["D=64"]] == [64, 64]
    assert [module.gradient for (module,) in settings["unrolled"]] == ["unrolled", "unrolled"]


def test_arm_keeps_the_resolution_and_the_hamburger_of_the_preset():
    config = digits()
    (generator,) = override(config, arms.arm("cd").overrides(config)).model.generator.context
    assert (generator.ham, generator.latent_dim, generator.rank, generator.resolution) == ("cd", 32, 8, 16)
    (other,) = override(config, arms.arm("non_local").overrides(config)).model.discriminator.context
    assert (other.module, other.resolution) == ("non_local", 16)
    (block,) = override(config, arms.arm("segmentation_hamburger").overrides(config)).model.generator.context
    assert (block.module, block.latent_dim, block.rank, block.resolution) == ("segmentation_hamburger", 32, 8, 16)
    own = arms.arm("late and long:module=em_attention,num_bases=8,train.steps=7")
    changed = override(config, own.overrides(config))
    assert own.file_name == "late_and_long"
    assert changed.train.steps == 7
    assert [module.num_bases for module in changed.model.generator.context] == [8]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["non_lokal"], "unknown context module 'non_lokal'; did you mean 'non_local'"),
        (["wide:latent_dim"], "expected an arm of the form NAME:FIELD=VALUE"),
        (["wide:width=3"], "unknown field 'model.generator.context.0.width'"),
        (["a b:rank=2", "a_b:rank=4"], "expected arms with different names, found a b and a_b more than once"),
    ],
)
def test_unusable_arms_are_refused(texts, message):
    with pytest.raises(UserError, match=message):
        arms.arms(texts, digits())


def test_preset_without_context_modules_is_refused():
    with pytest.raises(UserError, match=r"expected a context module to replace .*, found none; add model.generator"):
        arms.arms(["nmf"], override(digits(), ["model.discriminator.context=none"]))


def test_jobs_are_the_arms_with_their_seeds():
    options = compare_context.parser().parse_args(
        ["--folder", "lab", "--modules", "none", "nmf", "--seeds", "3", "4", "--more", "vq", "--more_seeds", "4"]
    )
    common = ["train.steps=5"]
    planned = compare_context.plan(options, override(digits(), common))
    jobs = compare_context.jobs(planned, options, common)
    assert [job.name for job in jobs] == ["none_seed3", "nmf_seed3", "none_seed4", "nmf_seed4", "vq_seed4"]
    config = override(digits(), [*jobs[2].overrides, *jobs[2].arm_overrides])
    assert (config.train.steps, config.train.seed, config.model.generator.context) == (5, 4, ())
    assert Job.from_json(jobs[1].to_json()) == jobs[1]

    options = compare_context.parser().parse_args(["--folder", "lab", "--setting_seeds", "7"])
    seeds = {each.kind: each.seeds for each in compare_context.plan(options, override(digits(), common))}
    assert seeds == {"compared": [0, 1, 2, 3, 4], "module": [0, 1, 2], "setting": [7]}


def test_summary_has_the_interval_of_student():
    summary = seed_statistics.summary([1.0, 2.0, 3.0, 4.0, 5.0])
    assert summary.mean == 3.0
    assert summary.deviation == pytest.approx(math.sqrt(2.5))
    assert summary.margin == pytest.approx(2.776445 * math.sqrt(2.5 / 5), rel=1e-6)  # quantile of t with 4 degrees
    assert summary.count == 5
    single = seed_statistics.summary([7.0])
    assert single.mean == 7.0
    assert math.isnan(single.deviation)
    assert math.isnan(single.margin)


def test_comparison_is_the_paired_t_test():
    baseline = np.array([10.0, 50.0, 20.0, 40.0, 30.0])
    comparison = seed_statistics.paired_comparison(baseline + np.arange(1.0, 6.0), baseline)
    assert comparison.difference.mean == pytest.approx(3.0)
    # t = 3 / sqrt(2.5 / 5); for 4 degrees of freedom, P(|T| > t) = 1 - sin(a) (1 + cos(a)^2 / 2), tan(a) = t / 2.
    angle = math.atan(3 / math.sqrt(0.5) / 2)
    expected = 1 - math.sin(angle) * (1 + math.cos(angle) ** 2 / 2)
    assert comparison.p_value == pytest.approx(expected, rel=1e-9)


def test_holm_multiplies_by_the_number_of_remaining_tests():
    assert seed_statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert seed_statistics.holm([0.9, 0.6]) == [1.0, 1.0]
    assert seed_statistics.holm([]) == []


def test_effective_rank_is_the_exponential_of_the_entropy():
    values = np.array([[5.0, 5.0, 5.0], [2.0, 0.0, 0.0], [3.0, 1.0, 0.0]])
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    np.testing.assert_allclose(spectra.effective_rank(values), [3.0, 1.0, math.exp(entropy)], rtol=1e-12)


def test_singular_values_are_those_of_positions_times_channels():
    generator = np.random.default_rng(0)
    left, _ = np.linalg.qr(generator.normal(size=(6, 3)))
    right, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    matrix = left @ np.diag([4.0, 2.0, 1.0]) @ right.T
    maps = np.stack([matrix.reshape(2, 3, 3), np.zeros((2, 3, 3))])
    np.testing.assert_allclose(spectra.relative_singular_values(maps), [[1.0, 0.5, 0.25], [0.0] * 3], atol=1e-12)
    assert spectra.spectrum(maps) == {
        "singular_values": [0.5, 0.25, 0.125],
        "effective_rank": pytest.approx(float(spectra.effective_rank(np.array([4.0, 2.0, 1.0]))), abs=1e-5),
    }


@pytest.fixture(scope="module")
def networks():
    context = [{"module": "self_attention", "resolution": 16}]
    common = {"resolution": 32, "num_classes": 3, "base_channels": 4}
    generator = Generator(z_dim=5, context=context, **common)
    return types.SimpleNamespace(
        generator=generator, discriminator=Discriminator(context=[], **common), class_counts=None
    )


def test_spectra_are_those_of_the_module_input_and_output(networks, monkeypatch):
    monkeypatch.setattr(spectra, "IMAGES", 4)
    monkeypatch.setattr(spectra, "BATCH", 2)
    (module,) = networks.generator.context
    seen = []
    monkeypatch.setattr(spectra, "spectrum", lambda maps: seen.append(maps) or len(seen))
    module.sigma.assign(tf.ones_like(module.sigma))
    found = spectra.run_spectra(networks, {"generator": 16, "discriminator": 8})
    before, after, added, of_discriminator, again = seen
    assert found == {"generator": {"before": 1, "after": 2, "added": 3}, "discriminator": {"before": 4, "after": 5}}
    np.testing.assert_array_equal(added, after - before)
    assert one_run.sigmas(networks.generator) == [1.0]
    assert before.shape == after.shape == (4, 16, 16, 8)
    np.testing.assert_allclose(module(before, training=False).numpy(), after, atol=1e-5)
    assert np.abs(after - before).max() > 1e-3
    assert of_discriminator is again
    assert of_discriminator.shape[:3] == (4, 8, 8)
    assert "call" not in vars(module)


def test_spectra_are_at_the_module_or_where_the_preset_has_one():
    preset = digits()
    assert one_run.resolutions(preset, preset) == {"generator": 16, "discriminator": 16}
    moved = override(preset, ["model.generator.context.0.resolution=32", "model.discriminator.context=none"])
    assert one_run.resolutions(moved, preset) == {"generator": 32, "discriminator": 16}


@pytest.mark.parametrize("module", ["self_attention", "double_attention"])
def test_multiply_adds_match_the_formula(module):
    config = override(digits(), arms.arm(module).overrides(digits()))
    variant = next(found for found in context_modules.VARIANTS.values() if found.module == module)
    for network, channels in (("generator", 32), ("discriminator", 16)):
        expected = variant.cost(16, channels).multiply_adds
        assert multiply_adds(config.model, network) == expected
    assert multiply_adds(override(digits(), arms.arm("none").overrides(digits())).model, "generator") == 0


def test_cpu_time_of_a_step_leaves_out_restarts():
    rows = [
        {"step": step, one_run.CPU_SECONDS: seconds}
        for step, seconds in ((10, 20.0), (20, 21.0), (30, 23.0), (35, 9.0), (45, 14.0))
    ]
    assert one_run.cpu_seconds_per_step(rows) == pytest.approx(0.2)
    assert one_run.cpu_seconds_per_step(rows[:1]) is None


def job(folder, seed=0, **changes):
    fields = {"arm": "none", "file_name": "none", "preset": "digits", "overrides": ("a=1",), "arm_overrides": ()}
    return Job(**{**fields, "classifier": None, "folder": str(folder), "seed": seed, **changes})


@pytest.fixture
def script(tmp_path):
    """Does a job by writing a result, and counts; fails for seed 13, and for the user for seed 14."""
    path = tmp_path / "script.py"
    path.write_text(
        f"""
import os, sys
sys.path[:0] = [{str(CHECKOUT / "scripts")!r}]
from context_lab.job import Job
import json
job = Job.from_json(sys.argv[2])
if job.seed == 13:
    sys.exit("no memory")
if job.seed == 14:
    print("script.py: error: expected data, found none", file=sys.stderr)
    sys.exit(2)
os.makedirs(os.path.dirname(job.result), exist_ok=True)
with open(job.folder + "/calls", "a") as calls:
    calls.write(job.name + "\\n")
with open(job.result, "w") as file:
    json.dump({{"job": job.identity(), "step": job.seed}}, file)
"""
    )
    return str(path)


def test_jobs_with_a_result_are_not_run_again(script, tmp_path):
    jobs = [job(tmp_path, seed) for seed in (3, 1)]
    assert [result["step"] for result in job_queue.results(jobs, script, 2)] == [3, 1]
    jobs.append(job(tmp_path, 2))
    assert [result["step"] for result in job_queue.results(jobs, script, 1)] == [3, 1, 2]
    assert sorted((tmp_path / "calls").read_text().split()) == ["none_seed1", "none_seed2", "none_seed3"]


def test_failed_jobs_are_reported_after_the_others(script, tmp_path):
    jobs = [job(tmp_path, seed) for seed in (13, 1)]
    with pytest.raises(FailedError, match=r"^1 of 2 runs failed: none_seed13 ended with exit code 1 \(no memory, see "):
        job_queue.results(jobs, script, 1)
    assert (tmp_path / "results" / "none_seed1.json").exists()
    with pytest.raises(UserError, match=r"^expected data, found none$"):
        job_queue.results([job(tmp_path, 14)], script, 1)


def test_results_of_other_settings_are_refused(script, tmp_path):
    job_queue.results([job(tmp_path)], script, 1)
    with pytest.raises(UserError, match=r"found other overrides; choose another --folder"):
        job_queue.results([job(tmp_path, overrides=("a=2",))], script, 1)


def test_folder_of_results_can_be_moved(script, tmp_path):
    def at(name):
        folder = tmp_path / name
        overrides = (f"data.data_dir={folder}/data",)
        return job(folder, overrides=overrides, classifier=f"{folder}/data/digits_classifier")

    job_queue.results([at("here")], script, 1)
    (tmp_path / "here").rename(tmp_path / "there")
    job_queue.results([at("there")], script, 1)
    assert (tmp_path / "there" / "calls").read_text() == "none_seed0\n"


def made_up_run(fid, rank=3.0):
    part = {"singular_values": [1.0, 0.5, 0.1], "effective_rank": rank}
    network = {"before": part, "after": part}
    return {
        "step": 10,
        "scores": {"fid": fid, "inception_score": 9.0 - fid / 100, "accuracy": 0.5},
        "real": {"fid": 1.25, "inception_score": 9.5, "accuracy": 0.99},
        "parameters": {name: {"network": 12_345, "context": 67} for name in ("generator", "discriminator")},
        "cpu_seconds_per_step": fid / 100,
        "spectra": {"generator": network, "discriminator": network},
    }


@pytest.fixture
def made_up_results():
    """Results that nobody measured, to test the page."""

    def arm(kind, fids, is_preset=False):
        runs = {str(seed): made_up_run(fid) for seed, fid in enumerate(fids)}
        products = {"generator": 3_450_000, "discriminator": 1_230_000}
        return {"kind": kind, "overrides": [], "is_preset": is_preset, "multiply_adds": products, "runs": runs}

    results = {
        "command": "made up",
        "device": "made up",
        "versions": {"python": "3"},
        "config": {
            "preset": "digits",
            "dataset": "digits",
            "overrides": ["train.steps=10"],
            "steps": 10,
            "batch": 32,
            "num_samples": 100,
            "context": {"generator": {"module": "hamburger", "rank": 8}, "discriminator": {"module": "hamburger"}},
            "processes": 2,
        },
        "real": made_up_run(1.0)["real"],
        "arms": {
            "none": arm("compared", [20.0, 22.0, 24.0, 26.0, 28.0]),
            "nmf": arm("compared", [10.1, 11.9, 14.0, 16.0, 18.0], is_preset=True),
            "vq": arm("compared", [22.0, 20.0, 26.0, 24.0, 29.0]),
            "non_local": arm("module", [17.0, 19.0, 21.0]),
            "K=1": arm("setting", [15.0, 25.0, 35.0]),
        },
    }
    results["arms"]["K=1"]["runs"]["2"] = {"diverged": "the loss is NaN"}
    return results


FIGURES = {name: f"images/{name}.png" for name in compare_context.FIGURES}


def test_page_shows_means_spread_and_tests(made_up_results):
    page = lab_page.page(made_up_results, FIGURES)
    assert "| `none` | 5 | 24.00 ± 3.16 [20.07, 27.93] | 8.76 ± 0.03 [8.72, 8.80] | 0.500 ± 0.000 [" in page
    assert "| `non_local` | 3 | 19.00 ± 2.00 |" in page
    assert "| `K=1` | 2, 1 diverged | 20.00 ± 7.07 |" in page
    # The preset's own module, on the seeds of the settings.
    assert "| `nmf` | 3 | 12.00 ± 1.95 |" in page
    fids = {name: lab_page.values(arm, "fid") for name, arm in made_up_results["arms"].items()}
    difference = seed_statistics.paired_comparison(list(fids["nmf"].values()), list(fids["none"].values()))
    assert f"| FID | `nmf` | 5 | {difference.difference.mean:+.2f} |" in page
    assert "- FID: differs from `none`: `nmf` (-10.00, p = " in page
    assert "`vq` (" not in page.split("At the 5% level")[1].split("\n\n")[1]
    assert "- accuracy: no arm differs from `none`." in page
    assert "FID 1.25, IS 9.50, accuracy 0.990" in page.replace("\n", " ")
    assert max(len(line) for line in page.splitlines() if not line.startswith("|")) <= 120
    assert "| `nmf` | 12,345 | 67 | 12,345 | 67 |" in page
    assert "| `nmf` | 3.45 M | 1.23 M | 140 ms | 0.58 |" in page
    assert all(f"]({path})" in page for path in FIGURES.values())


def test_page_without_enough_seeds_has_no_test(made_up_results):
    del made_up_results["arms"]["none"]["runs"]["4"]
    page = lab_page.page(made_up_results, FIGURES)
    assert "Differences from no module" not in page
    assert "| `none` | 4 |" in page


def test_redrawing_needs_the_json_only(made_up_results, tmp_path, monkeypatch, capsys):
    (tmp_path / "comparison.json").write_text(json.dumps(made_up_results))
    page = tmp_path / "comparison.md"
    monkeypatch.setattr(sys, "argv", ["compare_context.py", "--redraw", "--folder", str(tmp_path)])
    compare_context.main()
    assert page.read_text() == capsys.readouterr().out.removesuffix("\n")
    assert page.read_text() == lab_page.page(
        made_up_results, {name: f"images/comparison_{name}.png" for name in compare_context.FIGURES}
    )
    for name in ("scores", "spectra"):
        assert (tmp_path / "images" / f"comparison_{name}.png").stat().st_size > 5_000


def test_samples_of_arms_are_rows(tmp_path):
    for name, level in (("a", 0), ("b", 200)):
        picture = np.full((4, 12, 3), level, np.uint8)
        tf.io.write_file(f"{tmp_path}/{name}.png", tf.io.encode_png(picture))
    lab_figures.draw_samples({name: f"{tmp_path}/{name}.png" for name in "ab"}, f"{tmp_path}/grid.png")
    grid = tf.io.decode_png(tf.io.read_file(f"{tmp_path}/grid.png")).numpy()
    height, width = 4 * lab_figures.SCALE, 12 * lab_figures.SCALE
    assert len(grid) == 2 * height
    assert (grid[:height, -width:] == 0).all()
    assert (grid[height:, -width:] == 200).all()


def test_a_wrong_module_is_an_error_before_anything_is_written(tmp_path, monkeypatch):
    folder = tmp_path / "lab"
    monkeypatch.setattr(sys, "argv", ["compare_context.py", "--folder", str(folder), "--modules", "nmff"])
    with pytest.raises(UserError, match="did you mean 'nmf'"):
        compare_context.main()
    assert not folder.exists()


def test_folder_is_needed_to_measure(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["compare_context.py"])
    with pytest.raises(UserError, match="expected --folder DIR"):
        compare_context.main()


@pytest.mark.slow
def test_comparison_runs_and_resumes_without_training(digits_dir, classifier_path, tmp_path):
    command = [sys.executable, str(CHECKOUT / "scripts" / "compare_context.py"), "--folder", str(tmp_path / "lab")]
    command += ["--modules", "none", "nmf", "--seeds", "0", "--data_dir", digits_dir, "--classifier", classifier_path]
    command += ["--override", "model.generator.base_channels=4", "model.discriminator.base_channels=4"]
    command += ["train.steps=2", "train.global_batch=4", "evaluation.num_samples=32", "evaluation.neighbors_samples=0"]

    def compare():
        subprocess.run(command, check=True, capture_output=True, cwd=CHECKOUT)
        return json.loads((tmp_path / "lab" / "comparison.json").read_text())

    first = compare()
    runs = [path for path in (tmp_path / "lab" / "runs").rglob("*") if path.is_file()]
    times = {path: path.stat().st_mtime_ns for path in runs}
    assert any(path.name == "metrics.jsonl" for path in runs)
    second = compare()
    assert second["arms"] == first["arms"]
    assert {path: path.stat().st_mtime_ns for path in runs} == times
    (none,) = first["arms"]["none"]["runs"].values()
    (nmf,) = first["arms"]["nmf"]["runs"].values()
    assert none["parameters"]["generator"]["context"] == 0
    assert nmf["parameters"]["generator"]["context"] > 0
    assert math.isfinite(nmf["scores"]["fid"])
    assert none["spectra"]["generator"]["before"] == none["spectra"]["generator"]["after"]
    assert (tmp_path / "lab" / "comparison.md").read_text().startswith("# Context modules, compared on digits\n")
    assert (tmp_path / "lab" / "images" / "comparison_samples.png").exists()


def test_committed_page_matches_the_committed_results():
    results = json.loads((CHECKOUT / "docs" / "context_digits.json").read_text())
    figures = {name: f"images/context_digits_{name}.png" for name in compare_context.FIGURES}
    assert (CHECKOUT / "docs" / "context_digits.md").read_text() == lab_page.page(results, figures)
    assert all((CHECKOUT / "docs" / path).exists() for path in figures.values())
    used = {item.partition("module=")[2] for arm in results["arms"].values() for item in arm["overrides"]}
    assert set(CONTEXT_MODULES) <= used  # No module is left out.
