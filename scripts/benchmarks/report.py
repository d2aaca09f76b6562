"""What are the results of all benchmarks?

  python scripts/benchmarks/report.py

Writes docs/performance.md and the pages in docs/benchmarks/ from the JSON files there. Measures nothing and draws no
figures; "python scripts/benchmarks/NAME.py --redraw" also draws the figure of a page.
"""

import argparse
import os
from collections.abc import Callable, Mapping
from typing import Any

import benchmarking
import context
import context_page
import data
import eval as scoring
import fine_tuning
import image_folder
import inception
import layers
import scenes
import segmentation
import small_data
import train
from benchmarking import table
from context_modules import VARIANTS

FOLDER = "docs/benchmarks"
SUMMARY = "docs/performance.md"
PAGES: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "train": train.page,
    "train_resolutions": train.page,
    "train_precision": train.page,
    "train_xla": train.page,
    "train_input": train.page,
    "train_input_digits": train.page,
    "layers": layers.page,
    "context": context.page,
    "data": data.page,
    "eval": scoring.page,
    "inception": inception.page,
    "image_folder": image_folder.page,
    "small_data": small_data.page,
    "fine_tuning": fine_tuning.page,
    "scenes": scenes.page,
    "segmentation": segmentation.page,
}
FORMS = {
    "plain": "as in the paper: resampling and convolution",
    "strided": "strided 4x4 and 2x2 kernels instead of resampling",
    "auto": "fastest form per layer, on this CPU",
}


def steps(results: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    """Returns images/s and peak memory of the variants of train.py as a table.

    Args:
        results: results of train.py.
        columns: fields of a variant to show, with their headers.
    """
    rows = [
        [
            *(str(row.get(field, "memory")) for field in columns),
            f"{row['images_per_second']['median']:,.2f}",
            f"{row['share_as_written']:.2f}",
            f"{row['peak_bytes']['median'] / 1e9:.2f} GB",
        ]
        for row in results["variants"].values()
    ]
    return table([*columns.values(), "images/s", "share", "peak memory"], rows)


def flops(results: Mapping[str, Any]) -> str:
    """Returns the FLOP per image in each form as a table.

    Args:
        results: results of train.py for one preset and all forms.
    """
    by_form = {row["form"]: row["flop_per_image"] for row in results["variants"].values()}
    return table(
        ["form", "algorithm", "GFLOP per image"],
        [[f"`{form}`", text, f"{by_form[form] / 1e9:.1f}"] for form, text in FORMS.items()],
    )


def convolutions(results: Mapping[str, Any]) -> str:
    """Returns the total time of all convolutions in each form as a table."""
    rows = []
    for (preset, batch), by_layer in layers.groups(results["measurements"]).items():
        totals: dict[str, float] = {}
        for by_form in by_layer.values():
            seconds = {form: row["step_seconds"] for form, row in by_form.items()}
            chosen = next(iter(by_form.values()))["auto"]
            for form, taken in {
                **seconds,
                "auto": seconds.get(chosen, min(seconds.values())),
                "fastest": min(seconds.values()),
            }.items():
                totals[form] = totals.get(form, 0.0) + taken
        rows += [[preset, str(batch), form, f"{total:.2f} s"] for form, total in totals.items()]
    return table(["preset", "batch", "form", "convolutions per step"], rows)


def modules(results: Mapping[str, Any]) -> tuple[int, str]:
    """Returns the reference size, and time and memory of training each context module at that size as a table."""
    size = context_page.reference_size(results["measurements"])
    rows = [row for row in results["measurements"] if (row["size"], row["mode"]) == (size, "training")]
    exponents = results["exponents"]["training"]
    fields = ("seconds", "extra_bytes")
    return size, table(
        ["module", "time", "memory", "time grows as", "memory grows as"],
        [
            [
                VARIANTS[row["variant"]].title,
                *(context_page.median(row, field) for field in fields),
                *(context_page.growth(exponents[row["variant"]][field]) for field in fields),
            ]
            for row in rows
        ],
    )


def segmentation_ratio(results: Mapping[str, Any]) -> float:
    """Returns our time over that of PyTorch in the faster of its memory formats."""
    seconds = {name: row["seconds"]["median"] for name, row in results["variants"].items()}
    return seconds.pop(segmentation.OURS) / min(seconds.values())


def speeds(results: Mapping[str, Any], title: str, names: Mapping[str, str]) -> str:
    """Returns images/s of preparing or reading ImageNet as a table."""
    rows = [[names[variant], f"{row['images_per_second']['median']:,.0f}"] for variant, row in results[title].items()]
    return table([title, "images/s"], rows)


def inception_rates(results: Mapping[str, Any]) -> str:
    """Returns images/s of Inception's features, their ratios to the other packages, and images/s of sampling."""
    rates = {variant: row["images_per_second"]["median"] for variant, row in results["variants"].items()}
    ours = rates.pop(inception.OURS)
    others = " and ".join(
        f"{ours / rate:.2f} times as fast as {inception.VARIANTS[name]}" for name, rate in rates.items()
    )
    samples, both = (
        results["sampling"][variant]["images_per_second"]["median"] for variant in ("samples", "samples_and_features")
    )
    return (
        f"Features of a network as large as Inception-v3: {ours:.1f} images/s, {others}. Samples of "
        f"`{inception.PRESET}` at 128x128: {samples:.1f} images/s, and with their features {both:.1f}."
    )


def scores(results: Mapping[str, Any]) -> str:
    """Returns seconds and peak memory of scoring as a table."""
    rows = [
        [name, f"{stage['seconds']:.0f} s", f"{stage['peak_bytes_without_files'] / 1e9:.1f} GB"]
        for name, stage in results["stages"].items()
    ]
    return table(["stage", "time", "peak memory without mapped files"], rows)


def summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Returns the summary page as Markdown.

    Args:
        results: results by name of their file, with the names of ``PAGES``.
    """
    main = results["train"]
    size, module_table = modules(results["context"])
    machine = main["machine"]["convolution_flops"]["median"]
    return f"""# Performance

Generated by `scripts/benchmarks/report.py` from the JSON files beside the [benchmarks](benchmarks/README.md); do not
edit. Each section links to a page with ranges, commands and versions. Design notes explain the results:
[convolutions](design/convolutions.md), [memory](design/memory.md), [the TPU compiler](design/tpu_compiler.md) and
[batch normalisation](design/batch_normalization.md).

{benchmarking.provenance(main)}

All results were measured on CPUs. Compare ratios, not absolute times: the machines are virtual, and their speed varies
by up to a third within a day. Each page names its machine. There are no measurements on GPUs or TPUs.

## Training steps

`hamgan_strong` at 128x128. [Details](benchmarks/train.md).

{steps(main, {"form": "form", "batch": "batch"})}

Share: images/s x FLOP of the networks as written / rate of a 3x3 convolution, {machine / 1e9:.0f} GFLOP/s here. The
published graph reaches {train.PUBLISHED_SHARE}.

{train.BIGGAN_NOTE}

The forms compute the same function with different numbers of operations:

{flops(main)}

## Resolution

Batch 8. [Details](benchmarks/train_resolutions.md).

{steps(results["train_resolutions"], {"resolution": "resolution", "form": "form"})}

## Precision and Hamburgers

`hamgan_strong` at 128x128, batch 8, with and without Hamburgers. The CPU multiplies bfloat16 numbers in hardware.
[Details](benchmarks/train_precision.md).

{steps(results["train_precision"], {"precision": "precision", "module": "Hamburger"})}

## XLA

`digits`, batch 64. Keep XLA off on CPUs. [Details](benchmarks/train_xla.md).

{steps(results["train_xla"], {"xla": "XLA"})}

## Input

Images in memory, or read from records as in training. Details: [hamgan_strong](benchmarks/train_input.md),
[digits](benchmarks/train_input_digits.md).

{
        steps(
            {"variants": {**results["train_input"]["variants"], **results["train_input_digits"]["variants"]}},
            {"preset": "preset", "inputs": "images from"},
        )
    }

## Convolutions

Time of all convolutions in a step, in each form. `auto` chooses a form for each layer; `fastest` is the sum over the
fastest forms. [Details](benchmarks/layers.md).

{convolutions(results["layers"])}

## Context modules

Training on an input of 1 x {size} x {size} x {results["context"]["config"]["channels"]}; N is the number of positions.
[Details](benchmarks/context.md).

{module_table}

Hamburger never forms a matrix of positions by positions, stores nothing of its iterations for the backward pass, and
computes its gradient in closed form.

## Segmentation

HamNet-101 segments an image of 513x513 in {segmentation_ratio(results["segmentation"]):.2f} times the time of the same
network in PyTorch, in the faster memory format. [Details](benchmarks/segmentation.md).

## Preparing and reading ImageNet

[Details](benchmarks/data.md).

{speeds(results["data"], "preparation", data.PREPARATIONS)}

{speeds(results["data"], "reading", data.READINGS)}

## Scoring

{results["eval"]["config"]["images"]:,} images. [Details](benchmarks/eval.md).

{scores(results["eval"])}

{inception_rates(results["inception"])} [Details](benchmarks/inception.md).
"""


def render(folder: str) -> dict[str, str]:
    """Returns all pages by path relative to the checkout.

    Args:
        folder: the checkout.
    """
    results = {name: benchmarking.read_json(os.path.join(folder, FOLDER, f"{name}.json")) for name in PAGES}
    pages = {f"{FOLDER}/{name}.md": page(results[name], f"{name}.png") for name, page in PAGES.items()}
    return {SUMMARY: summary(results), **pages}


def main() -> None:
    """Writes the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    for path, text in render(checkout).items():
        benchmarking.write_text(os.path.join(checkout, path), text)
        print(path)


if __name__ == "__main__":
    benchmarking.run_script(main)
