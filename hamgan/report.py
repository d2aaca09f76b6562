"""The page that a person looks at after training: curves, samples over time, scores, config; one file, no network."""

import base64
import html
import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
import tensorflow as tf
from matplotlib.figure import Figure

from hamgan.config import to_json
from hamgan.html_page import html_page, html_table
from hamgan.run_directory import RunDirectory, write_atomically

MAX_GRIDS = 8
FIGURE_INCHES = (6.4, 3.2)


def write_report(run: RunDirectory) -> None:
    """Writes ``report.html`` into the run's folder from what is there."""
    config = run.read_config()
    metrics = run.read_metrics()
    evaluations = run.read_evaluations()
    grids = run.sample_grids()
    sections = {
        "Samples": _newest_grid(grids),
        "Scores": _score_figures(evaluations) + _score_table(evaluations),
        "Collapses": _collapse_table(run.read_collapses()),
        "Training": _training_figures(metrics),
        "Samples over time": _grids_over_time(grids),
        "Config": f"<details><summary>config.json</summary><pre>{html.escape(to_json(config))}</pre></details>",
    }
    page = html_page(
        f"HamGAN: {config.name} on {config.data.dataset}", _summary(metrics, evaluations, config.train.steps), sections
    )
    write_atomically(run.report_path, page.encode())


def _summary(metrics: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]], steps: int) -> str:
    parts = [f"Step {metrics[-1]['step'] if metrics else 0:,} of {steps:,}"]
    if metrics:
        speeds = sorted(row["images_per_second"] for row in metrics)
        parts.append(f"{speeds[len(speeds) // 2]:,.0f} training images/s")
    if evaluations:
        last = evaluations[-1]
        parts.append(f"FID {last['fid']:.2f} (real: {last['real_fid']:.2f})")
        parts.append(f"IS {last['inception_score']:.2f} (real: {last['real_inception_score']:.2f})")
        if last["accuracy"] is not None:
            parts.append(f"class-conditional accuracy {last['accuracy']:.1%}")
    return " · ".join(parts)


def _figure(
    title: str,
    curves: dict[str, tuple[Sequence[float], Sequence[float]]],
    *,
    level: tuple[str, float] | None = None,
    logarithmic: bool = False,
) -> str:
    """One plot over steps as SVG; ``level`` is a named horizontal line."""
    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    axes = figure.subplots()
    marker = "o" if max(len(steps) for steps, _ in curves.values()) <= 50 else None
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, linewidth=1.2, marker=marker, markersize=3)
    if level is not None:
        axes.axhline(level[1], label=level[0], linestyle="--", color="gray", linewidth=1)
    if logarithmic:
        axes.set_yscale("log")
    axes.set_title(title)
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if len(curves) > 1 or level is not None:
        axes.legend()
    buffer = io.StringIO()
    # Fixed ids and no date: the same run gives the same page.
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return f"<figure>{svg[svg.index('<svg') :]}</figure>"


def _collapse_table(collapses: Sequence[dict[str, Any]]) -> str:
    if not collapses:
        return ""
    rows = [(f"{row['step']:,}", row["what"], row["action"], f"{row['resumed_from']:,}") for row in collapses]
    return html_table(("step", "what was not finite", "then", "back to step"), rows)


def _training_figures(metrics: Sequence[dict[str, Any]]) -> str:
    if not metrics:
        return ""
    steps = [row["step"] for row in metrics]

    def curves(names: dict[str, str]) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
        return {
            label: (steps, [row.get(name, math.nan) for row in metrics])
            for name, label in names.items()
            if any(name in row for row in metrics)
        }

    figures = {
        "Hinge losses": curves({"discriminator_loss": "discriminator", "generator_loss": "generator"}),
        "Mean logits": curves({"real_logits": "real", "fake_logits": "fake"}),
        "Hamburger's sigma": curves({"generator_sigma": "generator", "discriminator_sigma": "discriminator"}),
        "Gradient norms": curves(
            {"discriminator_gradient_norm": "discriminator", "generator_gradient_norm": "generator"}
        ),
        "Largest singular value of a layer": curves(
            {"discriminator_largest_singular_value": "discriminator", "generator_largest_singular_value": "generator"}
        ),
        "Images per second": curves({"images_per_second": "images/s"}),
    }
    plots = "".join(_figure(title, lines) for title, lines in figures.items() if lines)
    return f'<div class="figures">{plots}</div>'


def _score_figures(evaluations: Sequence[dict[str, Any]]) -> str:
    if not evaluations:
        return ""
    newest = evaluations[-1]

    def curves(key: str) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
        # Only results made the same way belong on one curve.
        by_weights: dict[str, tuple[list[float], list[float]]] = {}
        for result in evaluations:
            same_way = {**result["settings"], "weights": None} == {**newest["settings"], "weights": None}
            if same_way and result[key] is not None:
                steps, values = by_weights.setdefault(f"{result['weights']} weights", ([], []))
                steps.append(result["step"])
                values.append(result[key])
        return dict(by_weights)

    plots = _figure("FID (validation split)", curves("fid"), level=("real", newest["real_fid"]), logarithmic=True)
    plots += _figure("Inception score", curves("inception_score"), level=("real", newest["real_inception_score"]))
    if newest["accuracy"] is not None:
        level = ("real", newest["real_accuracy"])
        plots += _figure("Class-conditional accuracy", curves("accuracy"), level=level)
    return f'<div class="figures">{plots}</div>'


def _score_table(evaluations: Sequence[dict[str, Any]]) -> str:
    if not evaluations:
        return ""
    rows = []
    for result in evaluations:
        accuracy = "-" if result["accuracy"] is None else f"{result['accuracy']:.1%}"
        rows.append(
            (
                f"{result['step']:,}",
                result["weights"],
                f"{result['fid']:.2f}",
                f"{result['inception_score']:.2f}",
                accuracy,
                f"{result['settings']['num_samples']:,}",
                result["settings"]["classifier"],
            )
        )
    newest = evaluations[-1]
    real = (
        f"Real data: IS {newest['real_inception_score']:.2f}, FID of train against validation {newest['real_fid']:.2f}"
    )
    header = ("step", "weights", "FID", "IS", "accuracy", "samples", "classifier")
    return f"<p>{real}</p>\n{html_table(header, rows)}"


def _image(path: str, caption: str) -> str:
    with tf.io.gfile.GFile(path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _newest_grid(grids: dict[int, str]) -> str:
    if not grids:
        return ""
    step, path = max(grids.items())
    return f'<div style="max-width: 40rem">{_image(path, f"Step {step:,}, one class per row")}</div>'


def _grids_over_time(grids: dict[int, str]) -> str:
    if len(grids) < 2:
        return ""
    steps = sorted(grids)
    count = min(MAX_GRIDS, len(steps))
    chosen = [steps[round(index * (len(steps) - 1) / (count - 1))] for index in range(count)]
    return f'<div class="grids">{"".join(_image(grids[step], f"Step {step:,}") for step in chosen)}</div>'
