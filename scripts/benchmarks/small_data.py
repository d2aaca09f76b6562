"""How much do the settings of the preset small_data help with 100 training images, and would DiffAugment help more?

  python scripts/benchmarks/small_data.py [--folder DIR] [--seeds 0 1 2] [--steps 2400]

Trains the preset digits on ten images of each digit: as it is, with the penalty of small_data (but without mirrored
images, because digits have an orientation), with DiffAugment besides, and without each part of that penalty in turn.
All runs take the same number of steps. A checkpoint is scored every 200 steps, by the FID of 2,000 samples against the
whole validation split, with the features of a classifier that was trained on all digits. The best checkpoint of a run
counts. The FID of the 100 training images themselves is the floor.

Writes JSON, a page and a figure. Training is deterministic; nothing is timed.
"""

import argparse
import statistics
from collections.abc import Mapping
from typing import Any

import benchmarking
import digit_runs

from hamgan.config import ExperimentConfig, to_dict
from hamgan.config.presets import small_data

DATASET = "digits100"
PER_CLASS = 10
PRESET = "`digits`"
SMALL_DATA = "settings of `small_data` (bCR)"
FURTHER: dict[str, dict[str, Any]] = {
    "and DiffAugment": {
        "augmentation.color": True,
        "augmentation.translation": True,
        "augmentation.cutout": True,
        "augmentation.probability": 0.2,
    },
}
"""Overrides of what is added to the settings of small_data, one variant each."""


def settings() -> dict[str, Any]:
    """Returns the augmentation and penalties of small_data that differ from the defaults, by dotted path."""
    values, defaults = to_dict(small_data()), to_dict(ExperimentConfig("defaults"))
    found = {
        f"{group}.{name}": value
        for group in ("augmentation", "regularization")
        for name, value in values[group].items()
        if value != defaults[group][name]
    }
    found.pop("augmentation.flip", None)
    return found


def variants() -> dict[str, dict[str, Any]]:
    """Returns the overrides of each variant."""
    common = settings()
    without = {
        f"without `{switched_off}`": {field: value for field, value in common.items() if field != switched_off}
        for switched_off in common
    }
    return {PRESET: {}, SMALL_DATA: common, **{name: common | added for name, added in FURTHER.items()}, **without}


def measure(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Trains and scores all runs; returns the results."""
    digit_runs.prepare_digits(folder)
    digit_runs.prepare_subset(folder, DATASET, labels=range(10), per_class=PER_CLASS)
    names = {(variant, seed): f"{index}_{seed}" for index, variant in enumerate(variants()) for seed in arguments.seeds}
    runs = [
        digit_runs.Run(
            names[variant, seed],
            DATASET,
            arguments.steps,
            seed,
            [f"{field}={value}" for field, value in overrides.items()],
        )
        for variant, overrides in variants().items()
        for seed in arguments.seeds
    ]
    rows = digit_runs.scored(folder, runs)
    return {
        "config": {"steps": arguments.steps, "seeds": arguments.seeds, "training_images": 10 * PER_CLASS},
        "floor": rows[runs[0].name][0]["real_fid"],
        "variants": {
            variant: {
                "overrides": overrides,
                "runs": {str(seed): rows[names[variant, seed]] for seed in arguments.seeds},
            }
            for variant, overrides in variants().items()
        },
    }


def bests(variant: Mapping[str, Any]) -> list[float]:
    """Returns the best FID of each run of a variant."""
    return [digit_runs.best(rows) for rows in variant["runs"].values()]


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config, floor = results["config"], results["floor"]
    base = statistics.mean(bests(results["variants"][PRESET])) - floor
    lines = [
        "# Few training images",
        "",
        benchmarking.provenance(results),
        "",
        f"The preset `digits` with {config['training_images']} training images, {config['steps']:,} steps, "
        f"{len(config['seeds'])} seeds. FID of the best checkpoint, lower is better; the training images themselves "
        f"have {floor:.2f}. Excess: the mean above these {floor:.2f}, relative to the preset.",
        "",
        "| variant | FID of each seed | mean | excess |",
        "|---|---|---|---|",
    ]
    for name, variant in results["variants"].items():
        values = bests(variant)
        mean = statistics.mean(values)
        each = ", ".join(f"{value:.2f}" for value in values)
        lines.append(f"| {name} | {each} | {mean:.2f} | {(mean - floor) / base:.2f} |")
    lines += ["", "Overrides of each variant:", ""]
    for name, variant in results["variants"].items():
        used = " ".join(f"{field}={str(value).lower()}" for field, value in variant["overrides"].items())
        lines.append(f"- {name}: " + (f"`{used}`" if used else "none"))
    lines += ["", f"![FID over steps]({figure})", ""]
    return "\n".join(lines)


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the mean FID of each variant over the steps."""
    curves = {name: list(variant["runs"].values()) for name, variant in results["variants"].items()}
    digit_runs.draw_curves(curves, results["floor"], path)


def main() -> None:
    """Trains, then writes JSON, page and figure."""
    digit_runs.run_benchmark(__doc__, "small_data", measure, page, draw, steps=2400)


if __name__ == "__main__":
    benchmarking.run_script(main)
