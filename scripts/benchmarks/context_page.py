"""The page of context.py: growth exponents, tables and the figure."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from context_modules import ATTENTIONS, HAMS, VARIANTS

MODES = ("inference", "training")
QUANTITIES = {"seconds": "time", "extra_bytes": "extra memory"}
PAPER_SIZE = 128
FIT_SIZES = 3
FIGURE_INCHES = (10.0, 7.0)
PLOT_STYLES = {name: "-" if name in HAMS else "--" for name in VARIANTS}


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


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Returns Markdown tables by heading."""
    rows, formulas = results["measurements"], results["formulas"]
    size = reference_size(rows)
    by_key = {(row["variant"], row["size"], row["mode"]): row for row in rows}
    variants = list(formulas)
    modes_and_quantities = [(mode, quantity) for quantity in QUANTITIES for mode in MODES]
    headers = [f"{mode}, {QUANTITIES[quantity]}" for mode, quantity in modes_and_quantities]
    formula = [
        [
            variant,
            f"{formulas[variant]['parameters']:,}",
            _engineering(_at(formulas[variant]["multiply_adds"], size)),
            _engineering(_at(formulas[variant]["ham_multiply_adds"], size)) if variant in HAMS else "",
        ]
        for variant in variants
    ]
    ratios = [
        [f"{ham} / {attention}", *ratio]
        for ham in variants
        for attention in variants
        if ham in HAMS and attention in ATTENTIONS
        for ratio in [
            [
                _ratio(by_key[ham, size, mode], by_key[attention, size, mode], quantity)
                for mode, quantity in modes_and_quantities
            ]
        ]
    ]
    fitted = [
        [variant, *(_number(results["exponents"][mode][variant][quantity]) for mode, quantity in modes_and_quantities)]
        for variant in variants
    ]

    def measured(sizes: Sequence[int]) -> str:
        """One table per quantity, so that the tables stay narrow."""
        return "\n\n".join(
            _table(
                ["size", "module", *(f"{mode}, {QUANTITIES[quantity]}" for mode in MODES)],
                [
                    [f"{size}x{size}", variant, *(_shown(by_key[variant, size, mode], quantity) for mode in MODES)]
                    for size in sizes
                    for variant in variants
                ],
            )
            for quantity in QUANTITIES
        )

    formula_table = _table(["module", "parameters", "multiply-adds", "ham only"], formula)
    return {
        f"At {size}x{size}": f"{formula_table}\n\n{measured([size])}",
        f"Hamburger over attention, at {size}x{size}": _table(["", *headers], ratios),
        "Exponents": _table(["module", *headers], fitted),
        "At every size": measured(sorted({row["size"] for row in rows})),
    }


def _at(by_size: Mapping[Any, int], size: int) -> int:
    """Looks up a size; JSON turns sizes into strings."""
    return by_size[size] if size in by_size else by_size[str(size)]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _engineering(count: float) -> str:
    exponent = min(max(int(math.log10(count)) // 3, 0), 4)
    return f"{count / 1000**exponent:.3g} {' KMGT'[exponent]}".rstrip()


def _shown(row: Mapping[str, Any], quantity: str) -> str:
    """Median and range."""
    if "skipped" in row:
        return f"skipped: {row['skipped']}" if quantity == "seconds" else "-"
    if not row[quantity]:
        return "not measured"
    values = [row[quantity][name] for name in ("median", "min", "max")]
    if quantity == "seconds":
        scale, unit = (1.0, "s") if values[0] >= 1 else (1e3, "ms")
    else:
        scale, unit = 1e-6, "MB"
    median, low, high = (f"{value * scale:.4g}" for value in values)
    return f"{median} {unit} ({low} to {high})"


def _ratio(row: Mapping[str, Any], base: Mapping[str, Any], quantity: str) -> str:
    medians = [(of.get(quantity) or {}).get("median") for of in (row, base)]
    return f"{medians[0] / medians[1]:.3g}" if all(medians) else "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def page(results: Mapping[str, Any], figure: str) -> str:
    """Returns the results as Markdown."""
    config = results["config"]
    hamburger = config["hamburger"]
    sections = tables(results)
    names = list(sections)
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    compiled = "with" if config["xla"] else "without"
    symbols = ", ".join(
        f"{symbol} = {hamburger[name]}"
        for symbol, name in (("D", "latent_dim"), ("R", "rank"), ("K", "num_steps"), ("S", "num_sections"))
    )
    descriptions = {
        "self_attention": "SAGAN: queries and keys of C / 8 channels, values of C / 2; keys and values max-pooled",
        "attention": "queries and keys of C / 8 channels, values of C / 2; every position attends to every position",
        "wide_attention": "queries, keys and values of C channels; every position attends to every position",
        **{ham: f"Hamburger {hamburger['version'].upper()} without batch normalisation, {symbols}" for ham in HAMS},
    }
    modules = "\n".join(f"- `{variant}`: {descriptions[variant]}" for variant in results["formulas"])
    runs = [run for row in results["measurements"] for run in row.get("runs", ())]
    counted = " and ".join(sorted({run["memory_of"] for run in runs}))
    return f"""# Hamburger and attention

Generated by `scripts/benchmarks/context.py`, whose docstring describes the method; do not edit.

- Command: `{results["command"]}`
- Device: {results["device"]}
- Versions: {versions}
- Input: {config["batch"]} x height x width x {config["channels"]}, {config["dtype"]}, {compiled} XLA
{modules}

Parameters and multiply-adds (forward pass) are computed by formula. Training is the forward pass and the gradients with
respect to the input and all weights. Times are medians of {config["calls"]} calls. Memory is the peak growth during a
call, including its results, according to {counted} (with oneDNN, it counts only tensors of at least
256 KiB). Both are medians and ranges over {config["repeats"]} processes.

## {names[0]}

{sections[names[0]]}

## {names[1]}

Ratios below 1 favour Hamburger.

{sections[names[1]]}

## Growth

![Time and extra memory over the number of positions]({figure})

Exponents p of time and memory as N^p, where N is the number of positions, fitted by least squares of logarithms over
the {FIT_SIZES} largest measured sizes of each module.

{sections[names[2]]}

## {names[3]}

{sections[names[3]]}
"""


def draw(results: Mapping[str, Any], path: str) -> None:
    """Draws time and extra memory over the number of positions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    units = {"seconds": (1.0, "s"), "extra_bytes": (1e-6, "MB")}
    for axes, (quantity, mode) in zip(
        figure.subplots(2, 2, sharex=True).flat, [(q, m) for q in QUANTITIES for m in MODES], strict=True
    ):
        scale, unit = units[quantity]
        for variant in results["formulas"]:
            positions, values = _curve(results["measurements"], variant, mode, quantity)
            exponent = results["exponents"][mode][variant][quantity]
            label = variant if exponent is None else f"{variant}: N^{exponent:.2f}"
            axes.plot(
                positions,
                [value * scale for value in values],
                PLOT_STYLES[variant],
                marker="o",
                markersize=3,
                linewidth=1.2,
                label=label,
            )
        axes.set(xscale="log", yscale="log", title=f"{mode}, {QUANTITIES[quantity]}", ylabel=unit)
        axes.set_xlabel("positions")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    # Without version and date, the same results give the same file.
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    figure.savefig(path, dpi=120, metadata={"Software": None})
