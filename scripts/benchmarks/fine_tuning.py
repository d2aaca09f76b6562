"""How many steps does fine-tuning save?

  python scripts/benchmarks/fine_tuning.py [--folder DIR] [--seeds 0 1 2] [--steps 1200]

Trains the preset digits on the digits 0 to 4, and then on the digits 5 to 9 twice: from random weights, and by
``--init_from`` from the first run. All classes are new to the source, so each starts from one of its classes. A
checkpoint is scored every 200 steps, by the FID of 2,000 samples against the validation images of the digits 5 to 9,
with the features of a classifier that was trained on all digits.

Writes JSON, a page and a figure. Training is deterministic; nothing is timed.
"""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

import benchmarking
import digit_runs

SOURCE, TARGET = "digits_0_to_4", "digits_5_to_9"
SCRATCH, TUNED = "from random weights", "from the digits 0 to 4"
CLASSES = "model.num_classes=5"


def measure(arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Trains and scores all runs; returns the results."""
    digit_runs.prepare_digits(folder)
    digit_runs.prepare_subset(folder, SOURCE, labels=range(5), per_class=None)
    digit_runs.prepare_subset(folder, TARGET, labels=range(5, 10), per_class=None)
    sources = [digit_runs.Run(f"source_{seed}", SOURCE, arguments.steps, seed, [CLASSES]) for seed in arguments.seeds]
    targets = []
    for seed in arguments.seeds:
        targets.append(digit_runs.Run(f"scratch_{seed}", TARGET, arguments.steps, seed, [CLASSES]))
        init_from = ["--init_from", os.path.join(folder, "runs", f"source_{seed}")]
        targets.append(digit_runs.Run(f"tuned_{seed}", TARGET, arguments.steps, seed, [CLASSES], init_from))
    digit_runs.scored(folder, sources)
    rows = digit_runs.scored(folder, targets)
    return {
        "config": {"steps": arguments.steps, "seeds": arguments.seeds},
        "floor": rows[f"scratch_{arguments.seeds[0]}"][0]["real_fid"],
        "variants": {
            name: {str(seed): rows[f"{run}_{seed}"] for seed in arguments.seeds}
            for name, run in ((SCRATCH, "scratch"), (TUNED, "tuned"))
        },
    }


def first_step_below(rows: Sequence[Mapping[str, Any]], fid: float) -> int | None:
    """Returns the first scored step with at most this FID, or None."""
    return next((row["step"] for row in sorted(rows, key=lambda row: row["step"]) if row["fid"] <= fid), None)


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config, variants = results["config"], results["variants"]
    lines = [
        "# Fine-tuning",
        "",
        benchmarking.provenance(results),
        "",
        f"The preset `digits` on the digits 5 to 9, {config['steps']:,} steps. The training images have an FID of "
        f"{results['floor']:.2f} against the validation images.",
        "",
        "| seed | best FID from random weights | at step | fine-tuning reaches it at step | share of the steps |",
        "|---|---|---|---|---|",
    ]
    for seed, rows in variants[SCRATCH].items():
        fid = digit_runs.best(rows)
        step = first_step_below(rows, fid)
        tuned = first_step_below(variants[TUNED][seed], fid)
        share = "-" if tuned is None or not step else f"{tuned / step:.2f}"
        lines.append(f"| {seed} | {fid:.2f} | {step:,} | {'never' if tuned is None else f'{tuned:,}'} | {share} |")
    lines += ["", f"![FID over steps]({figure})", ""]
    return "\n".join(lines)


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws the mean FID over the steps."""
    curves = {name: list(runs.values()) for name, runs in results["variants"].items()}
    digit_runs.draw_curves(curves, results["floor"], path)


def main() -> None:
    """Trains, then writes JSON, page and figure."""
    digit_runs.run_benchmark(__doc__, "fine_tuning", measure, page, draw, steps=1200)


if __name__ == "__main__":
    benchmarking.run_script(main)
