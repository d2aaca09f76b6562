"""The page of context.py: growth exponents, tables and the figure."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from context_modules import GROUPS, VARIANTS

MODES = ("inference", "training")
QUANTITIES = {"seconds": "time", "extra_bytes": "memory"}
COLUMNS = {f"{mode}, {name}": (mode, quantity) for quantity, name in QUANTITIES.items() for mode in MODES}
BASE = "nmf"
"""The module that the others are compared with."""
PAPER_SIZE = 128
FIT_SIZES = 3
PANEL_INCHES = (3.4, 2.6)


def exponents(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, float | None]]]:
    """Fits growth exponents p, quantity ~ N^p, by least squares of logarithms over the three largest sizes.

    Returns:
        The exponents by mode, variant and quantity; None with fewer than three sizes.
    """
    fitted: dict[str, dict[str, dict[str, float | None]]] = {mode: {} for mode in MODES}
    for mode in MODES:
        for variant in dict.fromkeys(row["variant"] for row in rows):
            fitted[mode][variant] = {}
            for quantity in QUANTITIES:
                positions, values = _curve(rows, variant, mode, quantity)
                fitted[mode][variant][quantity] = _slope(positions[-FIT_SIZES:], values[-FIT_SIZES:])
    return fitted


def _slope(positions: Sequence[int], values: Sequence[float]) -> float | None:
    if len(positions) < FIT_SIZES:
        return None
    return float(np.polyfit(np.log(positions), np.log(values), 1)[0])


def _curve(rows: Sequence[Mapping[str, Any]], variant: str, mode: str, quantity: str) -> tuple[list[int], list[float]]:
    """Positions and positive medians, in order of size."""
    points = [
        (row["positions"], row[quantity]["median"])
        for row in rows
        if (row["variant"], row["mode"]) == (variant, mode) and row.get(quantity) and row[quantity]["median"] > 0
    ]
    return [positions for positions, _ in sorted(points)], [value for _, value in sorted(points)]


def reference_size(rows: Sequence[Mapping[str, Any]]) -> int:
    """Returns the size of the paper if measured, else the largest size without skipped variants."""
    sizes = {row["size"] for row in rows}
    if PAPER_SIZE in sizes:
        return PAPER_SIZE
    return max(sizes - {row["size"] for row in rows if "skipped" in row}, default=min(sizes))


def _module_table(formulas: Mapping[str, Any]) -> str:
    rows = [
        [
            f"`{variant}`",
            GROUPS[VARIANTS[variant].group],
            VARIANTS[variant].description,
            f"{formula['parameters']:,}",
            f"{formula['untrained']:,}",
        ]
        for variant, formula in formulas.items()
    ]
    return _table(["module", "kind", "settings", "parameters", "not trained"], rows)


def _reference_table(results: Mapping[str, Any], size: int) -> str:
    """Everything about all modules at one size, in one table."""
    formulas, by_key = results["formulas"], _by_key(results["measurements"])
    rows = [
        [
            f"`{variant}`",
            _engineering(formulas[variant]["parameters"]),
            _engineering(formulas[variant]["multiply_adds"][str(size)]),
            *(median(by_key[variant, size, mode], quantity) for mode, quantity in COLUMNS.values()),
        ]
        for variant in formulas
    ]
    hams = [
        f"{_engineering(formula['ham_multiply_adds'][str(size)])} of `{variant}`"
        for variant, formula in formulas.items()
        if formula["ham_multiply_adds"]
    ]
    table = _table(["module", "parameters", "multiply-adds", *COLUMNS], rows)
    return f"{table}\n\nMultiply-adds in the ham alone: {', '.join(hams)}." if hams else table


def _ratio_table(results: Mapping[str, Any], size: int) -> str:
    by_key = _by_key(results["measurements"])
    rows = [
        [
            f"`{variant}`",
            *(_ratio(by_key[BASE, size, mode], by_key[variant, size, mode], field) for mode, field in COLUMNS.values()),
        ]
        for variant in results["formulas"]
        if variant != BASE
    ]
    return _table([f"`{BASE}` over", *COLUMNS], rows)


def _exponent_table(results: Mapping[str, Any]) -> str:
    rows = [
        [f"`{variant}`", *(growth(results["exponents"][mode][variant][field]) for mode, field in COLUMNS.values())]
        for variant in results["formulas"]
    ]
    return _table(["module", *COLUMNS], rows)


def _size_section(results: Mapping[str, Any], size: int) -> str:
    """Medians and ranges at one size, and what was skipped."""
    by_key = _by_key(results["measurements"])
    rows = [
        [f"`{variant}`", *(_median_and_range(by_key[variant, size, mode], field) for mode, field in COLUMNS.values())]
        for variant in results["formulas"]
    ]
    skipped = [
        f"- `{row['variant']}`, {row['mode']}: {row['skipped']}"
        for row in results["measurements"]
        if row["size"] == size and "skipped" in row
    ]
    return "\n\n".join(
        [
            f"### {size}x{size}",
            _table(["module", *COLUMNS], rows),
            *(["\n".join(["Skipped:", "", *skipped])] * bool(skipped)),
        ]
    )


def _by_key(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, str], Mapping[str, Any]]:
    return {(row["variant"], row["size"], row["mode"]): row for row in rows}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _engineering(count: float) -> str:
    exponent = min(max(int(math.log10(count)) // 3, 0), 4)
    return f"{count / 1000**exponent:.3g} {' KMGT'[exponent]}".rstrip()


def median(row: Mapping[str, Any], quantity: str) -> str:
    """Returns the median of a measurement with its unit."""
    return _shown(row, quantity, with_range=False)


def _median_and_range(row: Mapping[str, Any], quantity: str) -> str:
    return _shown(row, quantity, with_range=True)


def _shown(row: Mapping[str, Any], quantity: str, *, with_range: bool) -> str:
    if "skipped" in row:
        return "does not fit"
    if not row[quantity]:
        return "not measured"
    middle, low, high = (row[quantity][name] for name in ("median", "min", "max"))
    scale, unit = _unit(middle, quantity)
    shown = f"{_digits(middle * scale)} {unit}"
    return f"{shown} ({_digits(low * scale)} to {_digits(high * scale)})" if with_range and low < high else shown


def _digits(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _unit(value: float, quantity: str) -> tuple[float, str]:
    if quantity == "seconds":
        return (1.0, "s") if value >= 1 else (1e3, "ms")
    return (1e-9, "GB") if value >= 1e9 else (1e-6, "MB")


def _ratio(row: Mapping[str, Any], base: Mapping[str, Any], quantity: str) -> str:
    medians = [(of.get(quantity) or {}).get("median") for of in (row, base)]
    return f"{medians[0] / medians[1]:.3g}" if all(medians) else "-"


def growth(exponent: float | None) -> str:
    """Returns the power of the number of positions N that an exponent stands for."""
    return "-" if exponent is None else f"N^{exponent:.2f}"


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config, rows = results["config"], results["measurements"]
    size = reference_size(rows)
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    compiled = "with" if config["xla"] else "without"
    symbols = ", ".join(
        f"{symbol} = {config['hamburger'][name]}"
        for symbol, name in (("D", "latent_dim"), ("R", "rank"), ("K", "num_steps"), ("S", "num_sections"))
    )
    counted = " and ".join(sorted({run["memory_of"] for row in rows for run in row.get("runs", ())}))
    sizes = "\n\n".join(_size_section(results, size) for size in sorted({row["size"] for row in rows}))
    ratios = (
        f"""
## Hamburger over the others, at {size}x{size}

Ratios below 1 favour Hamburger with NMF.

{_ratio_table(results, size)}
"""
        if BASE in results["formulas"]
        else ""
    )
    return f"""# Cost of context modules

Generated by `scripts/benchmarks/context.py`, whose docstring describes the method; do not edit.

- Command: `{results["command"]}`
- Device: {results["device"]}
- Versions: {versions}
- Input: {config["batch"]} x height x width x {config["channels"]}, {config["dtype"]}, {compiled} XLA

C = {config["channels"]} channels. Hamburger: {symbols}.

{_module_table(results["formulas"])}

Parameters are trained values. The last column counts the other stored values, without the singular vectors of spectral
normalisation. Multiply-adds are those of the convolutions and matrix products of a forward pass. All of these are
computed by formula.

Training is the forward pass and the gradients with respect to the input and all weights. Memory is the peak growth
during a call, including its results, according to {counted} (with oneDNN, it counts only
tensors of at least 256 KiB). Each process reports medians of at most {config["calls"]} calls; this page shows the
median and the range over {config["repeats"]} processes. A module does not fit if an upper estimate of its memory,
from two matrices of scores in inference and four in training, exceeds what is available.

## At {size}x{size}

{_reference_table(results, size)}
{ratios}
## Growth

![Time and memory over the number of positions]({figure})

Exponents p of time and memory as N^p, where N is the number of positions, fitted by least squares of logarithms over
the {FIT_SIZES} largest measured sizes of each module.

{_exponent_table(results)}

## At every size

{sizes}
"""


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws time and memory over the number of positions: a column for each group, with the base in grey."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = [group for group in GROUPS if any(VARIANTS[variant].group == group for variant in results["formulas"])]
    figure = Figure(figsize=(PANEL_INCHES[0] * len(shown), PANEL_INCHES[1] * len(COLUMNS)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(COLUMNS), len(shown), sharex=True, sharey="row", squeeze=False)
    scales = {"seconds": (1.0, "s"), "extra_bytes": (1e-6, "MB")}
    for row_of_panels, (title, (mode, quantity)) in zip(panels, COLUMNS.items(), strict=True):
        scale, unit = scales[quantity]
        for axes, group in zip(row_of_panels, shown, strict=True):
            for variant in results["formulas"]:
                in_group = VARIANTS[variant].group == group
                if not in_group and variant != BASE:
                    continue
                positions, values = _curve(results["measurements"], variant, mode, quantity)
                style = {} if in_group else {"color": "0.6", "linestyle": "--", "zorder": 1}
                scaled = [value * scale for value in values]
                axes.plot(positions, scaled, marker="o", markersize=3, linewidth=1.2, label=variant, **style)
            axes.set(xscale="log", yscale="log")
            axes.grid(alpha=0.3)
        row_of_panels[0].set_ylabel(f"{title} ({unit})")
    for axes, group in zip(panels[0], shown, strict=True):
        axes.set_title(GROUPS[group], fontsize="medium")
    for axes in panels[-1]:
        axes.set_xlabel("positions")
        axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.22))
    # Without version and date, the same results give the same file.
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
