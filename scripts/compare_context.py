"""Which context module suits this experiment?

  python scripts/compare_context.py --folder runs/context
  python scripts/compare_context.py --folder runs/flowers --preset small_data --dataset flowers/128 --data_dir data \\
      --classifier data/flowers_classifier --modules none nmf self_attention --override train.steps=20000
  python scripts/compare_context.py --redraw

Trains a preset with each context module in the places of the preset's own, and without any, over several seeds. Scores
the last checkpoint of each run, and measures the singular values of feature maps before and after the module. Writes
JSON, a page, and figures.

An arm is "none"; "nmf", "cd" or "vq", the preset's Hamburger with this decomposition; the name of another module, in
its default form; or one of your own, NAME:FIELD=VALUE,FIELD=VALUE, whose fields are those of the context modules in
both networks, or of the config by dotted path: "wide:latent_dim=64", "late:module=non_local,resolution=32".

Runs that have a result in the folder are not run again. After an interruption, run the same command again to resume.
The default is the experiment of docs/context_digits.md: a short form of the preset digits, whose data is prepared in
the folder. --redraw without --folder writes that page from its JSON.
"""

import argparse
import dataclasses
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

sys.path.append(str(pathlib.Path(__file__).parent / "benchmarks"))

import benchmarking
from context_lab import arms, job_queue
from context_lab.arms import Arm
from context_lab.job import Job

from hamgan.cli.options import add_data_dir, check_output, path_value
from hamgan.config import ExperimentConfig, override
from hamgan.config.context_modules import CONTEXT_CONFIGS
from hamgan.config.presets import PRESETS, get_preset
from hamgan.errors import UserError
from hamgan.program import import_tensorflow_quietly

DIGITS = "digits"
SHORT_DIGITS = (
    "train.global_batch=16",
    "train.steps=500",
    "train.checkpoint_every=500",
    "evaluation.neighbors_samples=0",
)
"""Overrides of the preset digits by default: a run takes minutes of one core."""
FIXED = ("train.image_every=0", "train.max_to_keep=1")
DIGITS_PAGE = "docs/context_digits"
FIGURES = ("scores", "spectra", "samples")


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the options."""
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--folder", metavar="DIR", type=path_value, help="folder of runs and results, kept")
    result.add_argument(
        "--preset",
        default=DIGITS,
        metavar="NAME",
        help=f"settings to start from: {', '.join(PRESETS)} (default: digits)",
    )
    result.add_argument("--dataset", metavar="NAME", help="any TFDS classification data set (default: the preset's)")
    add_data_dir(result)
    result.add_argument(
        "--classifier",
        metavar="HANDLE",
        help="TF-Hub handle or SavedModel to score with (default: the preset's, or the one prepared with the digits)",
    )
    result.add_argument(
        "--override",
        nargs="+",
        metavar="FIELD=VALUE",
        help=f"settings of all runs (default for digits: {' '.join(SHORT_DIGITS)})",
    )
    result.add_argument("--modules", nargs="+", metavar="ARM", help=f"arms to compare (default: {' '.join(arms.MAIN)})")
    result.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="N", help="default: 0 1 2 3 4")
    result.add_argument(
        "--more",
        nargs="*",
        metavar="ARM",
        help="arms with fewer seeds (default without --modules: all other modules, and the sweeps "
        f"{' '.join(arms.SWEEPS)})",
    )
    result.add_argument("--more_seeds", nargs="+", type=int, default=[0, 1, 2], metavar="N", help="default: 0 1 2")
    result.add_argument(
        "--setting_seeds",
        nargs="+",
        type=int,
        metavar="N",
        help="seeds of those of --more that are no modules in their default form (default: --more_seeds)",
    )
    result.add_argument(
        "--processes", type=benchmarking.positive, metavar="N", help="runs at a time (default: one on each core)"
    )
    result.add_argument("--out", metavar="FILE", help="JSON file (default: comparison.json in --folder)")
    result.add_argument("--page", metavar="FILE", help="Markdown page (default: comparison.md in --folder)")
    result.add_argument("--redraw", action="store_true", help="write page and figures from an existing JSON file")
    result.add_argument("--job", type=Job.from_json, help=argparse.SUPPRESS)
    return result


class Planned(NamedTuple):
    """An arm with its seeds.

    Args:
        arm: the arm.
        kind: its table: "compared", "module" (another one, in its default form) or "setting".
        seeds: seeds of its runs.
    """

    arm: Arm
    kind: str
    seeds: Sequence[int]


def plan(options: argparse.Namespace, config: ExperimentConfig) -> list[Planned]:
    """Returns all arms, those to compare first.

    Args:
        options: options of :func:`parser`.
        config: config that the arms change.

    Raises:
        UserError: if an arm does not exist or does not fit, or if two arms share a name.
    """
    more = options.more if options.more is not None else [] if options.modules else [*arms.OTHERS, *arms.SWEEPS]
    found = [Planned(arm, "compared", options.seeds) for arm in arms.arms(options.modules or arms.MAIN, config)]
    seeds = {"module": options.more_seeds, "setting": options.setting_seeds or options.more_seeds}
    for arm in arms.arms(more, config):
        kind = "module" if arm.name in CONTEXT_CONFIGS else "setting"
        found.append(Planned(arm, kind, seeds[kind]))
    arms.check_names([each.arm for each in found])
    return found


def jobs(planned: Sequence[Planned], options: argparse.Namespace, common: Sequence[str]) -> list[Job]:
    """Returns all runs, first those to compare, seed by seed.

    Args:
        planned: result of :func:`plan`.
        options: options of :func:`parser`.
        common: overrides of the preset that all runs share.
    """
    config = override(get_preset(options.preset), common)
    found = [
        Job(
            arm=each.arm.name,
            file_name=each.arm.file_name,
            seed=seed,
            preset=options.preset,
            overrides=(*common, f"train.seed={seed}"),
            arm_overrides=tuple(each.arm.overrides(config)),
            classifier=options.classifier,
            folder=options.folder,
        )
        for each in planned
        for seed in each.seeds
    ]
    compared = {each.arm.name for each in planned if each.kind == "compared"}
    seeds = [*options.seeds, *options.more_seeds, *(options.setting_seeds or ())]
    return sorted(found, key=lambda job: (job.arm not in compared, seeds.index(job.seed)))


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Trains and measures all runs; returns the results."""
    given = options.override if options.override is not None else SHORT_DIGITS if options.preset == DIGITS else ()
    options.folder = os.path.abspath(options.folder)
    is_own_data = options.preset == DIGITS and options.data_dir is None
    if is_own_data:
        options.data_dir = os.path.join(options.folder, "data")
        options.classifier = options.classifier or os.path.join(options.data_dir, "digits_classifier")
    places = {"data.dataset": options.dataset, "data.data_dir": options.data_dir}
    common = [*(f"{name}={value}" for name, value in places.items() if value is not None), *FIXED, *given]
    config = override(get_preset(options.preset), common)
    planned = plan(options, config)
    runs = jobs(planned, options, common)
    for option, path in (("--out", options.out), ("--page", options.page)):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        check_output(option, path)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = options.processes or cores
    if is_own_data:
        prepare_digits(options.data_dir)
    results = job_queue.results(runs, os.path.abspath(__file__), processes)
    import_tensorflow_quietly()  # Not before: the processes have the memory until here.
    draw_samples(planned, runs, options.page)
    return {
        "config": {
            "preset": options.preset,
            "dataset": config.data.dataset,
            "overrides": list(given),
            "steps": config.train.steps,
            "batch": config.train.global_batch,
            "num_samples": config.evaluation.num_samples,
            "context": {
                network: dataclasses.asdict(getattr(config.model, network).context[0]) for network in arms.NETWORKS
            },
            "processes": processes,
        },
        "real": next((result["real"] for result in results if "real" in result), {}),
        "arms": {each.arm.name: arm_results(each, runs, results, config) for each in planned},
    }


def arm_results(
    planned: Planned, runs: Sequence[Job], results: Sequence[dict[str, Any]], config: ExperimentConfig
) -> dict[str, Any]:
    """Returns an arm with the results of its runs by seed."""
    from context_lab.multiply_adds import multiply_adds

    from hamgan.data.fitted_config import fitted_config

    overrides = planned.arm.overrides(config)
    model = fitted_config(override(config, overrides)).model
    of_seed = {
        str(job.seed): {name: value for name, value in result.items() if name != "job"}
        for job, result in zip(runs, results, strict=True)
        if job.arm == planned.arm.name
    }
    return {
        "kind": planned.kind,
        "overrides": overrides,
        "is_preset": override(config, overrides) == config,
        "multiply_adds": {network: multiply_adds(model, network) for network in arms.NETWORKS},
        "runs": dict(sorted(of_seed.items(), key=lambda item: int(item[0]))),
    }


def draw_samples(planned: Sequence[Planned], runs: Sequence[Job], page: str) -> None:
    """Draws the samples of each arm's first run."""
    from context_lab import lab_figures

    pictures = {}
    for each in planned:
        found = [job.samples for job in runs if job.arm == each.arm.name and os.path.exists(job.samples)]
        if found:
            pictures[each.arm.name] = found[0]
    path = figure_paths(page)["samples"]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    lab_figures.draw_samples(pictures, path)


def figure_paths(page: str) -> dict[str, str]:
    """Returns the path of each figure of a page, in the folder ``images`` beside it."""
    folder, name = os.path.split(os.path.splitext(page)[0])
    return {figure: os.path.join(folder, "images", f"{name}_{figure}.png") for figure in FIGURES}


def prepare_digits(data_dir: str) -> None:
    """Prepares the digits and their classifier, unless they exist."""
    import digit_runs

    digit_runs.run_hamgan(["prepare", "digits", "--data_dir", data_dir])


def main() -> None:
    """Trains, then writes JSON, page and figures."""
    options = parser().parse_args()
    if options.job is not None:
        import_tensorflow_quietly()
        from context_lab import one_run

        one_run.measure(options.job)
        return
    if not options.folder and not options.redraw:
        raise UserError("expected --folder DIR, where runs and results are kept, found none")
    base = os.path.join(options.folder, "comparison") if options.folder else DIGITS_PAGE
    options.out, options.page = options.out or f"{base}.json", options.page or f"{base}.md"
    if options.redraw:
        results = benchmarking.read_json(options.out)
    else:
        results = measured(options)
        results = {**benchmarking.environment(), **results}
        benchmarking.write_json(options.out, results)
    import_tensorflow_quietly()
    from context_lab import lab_figures, lab_page

    paths = figure_paths(options.page)
    os.makedirs(os.path.dirname(paths["scores"]), exist_ok=True)
    lab_figures.draw_scores(results, paths["scores"])
    lab_figures.draw_spectra(results, paths["spectra"])
    folder = os.path.dirname(options.page)
    text = lab_page.page(results, {name: os.path.relpath(path, folder or ".") for name, path in paths.items()})
    benchmarking.write_text(options.page, text)
    print(text)


if __name__ == "__main__":
    benchmarking.run_script(main)
