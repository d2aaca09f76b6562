"""Self-contained HTML report of a run: curves, samples over time, scores and config."""

import base64
import html
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from matplotlib.figure import Figure

from hamgan.config import ExperimentConfig, to_json
from hamgan.config.protocols import by_card, card_id, card_labels, flat_card, has_score, is_finite, most_comparable
from hamgan.files import write_atomically
from hamgan.html_page import html_page, html_table
from hamgan.runs.directory import RunDirectory
from hamgan.runs.evaluation_results import key_of
from hamgan.runs.figure_svg import figure_svg
from hamgan.runs.initialization import COLUMNS as COLUMNS_OF_INITIALIZATION
from hamgan.runs.initialization import Initialization
from hamgan.runs.score_table import COLUMNS, extra_scores, one_line, real_of, shown

MAX_GRIDS = 8
FIGURE_INCHES = (6.4, 3.2)
SCORE_FIGURES = {
    "FID (validation split)": "fid",
    "Inception score": "inception_score",
    "KID": "kid",
    "Precision": "precision",
    "Recall": "recall",
    "Class-conditional accuracy": "accuracy",
}


def write_report(run: RunDirectory) -> None:
    """Writes ``report.html`` from the files in the run's folder."""
    config = run.read_any_config()
    is_gan = isinstance(config, ExperimentConfig)
    metrics = run.read_metrics()
    everything = run.evaluations.read()
    evaluations = run.evaluations.own(everything)
    own = {key_of(result) for result in evaluations}
    others = [result for result in everything if key_of(result) not in own]
    grids = run.sample_grids()
    sections = {
        "Samples" if is_gan else "Predictions": _newest_grid(grids, run, ", one class per row" if is_gan else ""),
        "More pages": _pages(run, _GAN_PAGES if is_gan else _SEGMENTATION_PAGES),
        "Scores": _score_figures(evaluations) + _score_table(evaluations),
        "Other checkpoints": _other_table(others),
        "Truncation": _truncation_figures(evaluations),
        "How the scores were made": _cards(evaluations),
        "Collapses": _collapse_table(run.read_collapses()),
        "Initial weights": _initial_weights(run.read_initialization()),
        "Training": _training_figures(metrics),
        "Samples over time" if is_gan else "Predictions over time": _grids_over_time(grids),
        "Config": f"<details><summary>config.json</summary><pre>{html.escape(to_json(config))}</pre></details>",
    }
    page = html_page(
        f"{'HamGAN' if is_gan else 'Segmentation'}: {config.name} on {config.data.dataset}",
        _summary(metrics, evaluations, config.train.steps),
        sections,
    )
    write_atomically(run.report_path, page.encode())


def _summary(metrics: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]], steps: int) -> str:
    parts = [f"Step {metrics[-1]['step'] if metrics else 0:,} of {steps:,}"]
    speeds = sorted(row["images_per_second"] for row in metrics if is_finite(row.get("images_per_second")))
    if speeds:
        parts.append(f"{speeds[len(speeds) // 2]:,.0f} training images/s")
    comparable = most_comparable(evaluations)
    if comparable:
        last = comparable[-1]
        real = real_of(last)
        parts += [
            f"{title} {shown(last, name, form)} (real: {shown(real, name, form)})"
            for title, name, form in COLUMNS
            if name in ("fid", "inception_score")
        ]
        if has_score(last, "accuracy"):
            parts.append(f"class-conditional accuracy {last['scores']['accuracy']:.1%}")
    return " · ".join(parts)


def _figure(
    title: str,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    level: tuple[str, float] | None = None,
    logarithmic: bool = False,
    x_label: str = "step",
    point_labels: Sequence[tuple[float, float, str]] = (),
) -> str:
    """A plot as SVG, with a named horizontal line (``level``) and texts at points (``point_labels``)."""
    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    axes = figure.subplots()
    marker = "o" if max(len(steps) for steps, _ in curves.values()) <= 50 else None
    for name, (steps, values) in curves.items():
        axes.plot(steps, values, label=name, linewidth=1.2, marker=marker, markersize=3)
    for x, y, text in point_labels:
        axes.annotate(text, (x, y), fontsize="small")
    if level is not None:
        axes.axhline(level[1], label=level[0], linestyle="--", color="gray", linewidth=1)
    if logarithmic:
        axes.set_yscale("log")
    axes.set_title(title)
    axes.set_xlabel(x_label)
    axes.grid(alpha=0.3)
    if len(curves) > 1 or level is not None:
        axes.legend(fontsize="x-small")
    return f"<figure>{figure_svg(figure, title)}</figure>"


def _collapse_table(collapses: Sequence[dict[str, Any]]) -> str:
    if not collapses:
        return ""
    rows = [(f"{row['step']:,}", row["what"], row["action"], f"{row['resumed_from']:,}") for row in collapses]
    return html_table(("step", "what was not finite", "then", "back to step"), rows)


def _initial_weights(initialization: Initialization | None) -> str:
    if initialization is None:
        return ""
    classes = initialization.describe_classes()
    source = f"From {initialization.describe_source()}.{f' {classes}.' if classes else ''}"
    table = html_table(COLUMNS_OF_INITIALIZATION, [network.cells() for network in initialization.networks])
    return f"<p>{html.escape(source)}</p>\n{table}"


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
        "Loss per pixel": curves({"loss": "loss"}),
        "Pixel accuracy in training": curves({"pixel_accuracy": "pixel accuracy"}),
        "Gradient norm": curves({"gradient_norm": "gradient norm"}),
        "Learning rate": curves({"learning_rate": "learning rate"}),
        "Hinge losses": curves({"discriminator_loss": "discriminator", "generator_loss": "generator"}),
        "Mean logits in training": curves({"real_logits": "real", "fake_logits": "fake"}),
        "Mean logits without augmentation": curves(
            {"train_logits": "training", "validation_logits": "validation", "generated_logits": "generated"}
        ),
        "Penalties": curves({"r1_penalty": "R1", "lecam_penalty": "LeCam", "consistency_penalty": "consistency"}),
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
    # Results of a truncation sweep belong to the curve below, not to the curves over steps.
    groups = {
        name: group
        for name, group in by_card(evaluations).items()
        if len(group) > 1 or group[0]["card"].get("truncation") is None
    }
    labels = card_labels([group[0]["card"] for group in groups.values()])
    real = _real(evaluations)
    figures = []
    for title, score in SCORE_FIGURES.items():
        curves = {}
        for label, (name, group) in zip(labels, groups.items(), strict=True):
            points = [(result["step"], result["scores"][score]) for result in group if has_score(result, score)]
            if points:
                curves[f"{label} [{name}]"] = ([step for step, _ in points], [value for _, value in points])
        if curves:
            level = ("real", real["scores"][score]) if has_score(real, score) else None
            figures.append(_figure(title, curves, level=level, logarithmic=score == "fid"))
    return f'<div class="figures">{"".join(figures)}</div>'


def _real(evaluations: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Scores of the real images in a result."""
    return real_of((most_comparable(evaluations) or evaluations)[-1])


def _score_table(evaluations: Sequence[dict[str, Any]]) -> str:
    if not evaluations:
        return ""
    columns = [
        column for column in COLUMNS if any(result["scores"].get(column[1]) is not None for result in evaluations)
    ]
    header = ["step", "made as", *(title for title, _, _ in columns)]
    rows = [
        [f"{result['step']:,}", result["card_id"], *(shown(result, name, form) for _, name, form in columns)]
        for result in evaluations
    ]
    real = _real(evaluations)
    line = (
        f"Real images: IS {shown(real, 'inception_score', '{:.2f}')} of the validation split, "
        f"FID of train against validation {shown(real, 'fid', '{:.2f}')}"
    )
    return f"<p>{line}</p>\n{html_table(header, rows)}{_extra_table(evaluations)}"


def _other_table(others: Sequence[dict[str, Any]]) -> str:
    """Results of checkpoints from other folders, or replaced since."""
    rows = [
        (result["source"] or f"another one of step {result['step']:,}", result["card_id"], one_line(result))
        for result in others
    ]
    return html_table(("checkpoint", "made as", "scores"), rows) if rows else ""


def _extra_table(evaluations: Sequence[dict[str, Any]]) -> str:
    rows = [
        (f"{result['step']:,}", result["card_id"], name, f"{value:.2f}")
        for result in evaluations
        for name, value in extra_scores(result)
    ]
    return html_table(("step", "made as", "score", "value"), rows) if rows else ""


def _truncation_figures(evaluations: Sequence[dict[str, Any]]) -> str:
    """IS over FID of truncation sweeps: results of one checkpoint that differ only in truncation."""
    sweeps: dict[str, list[tuple[float, float, float]]] = {}
    for result in evaluations:
        if not (has_score(result, "fid") and has_score(result, "inception_score")):
            continue
        truncation = result["card"].get("truncation")
        name = f"step {result['step']:,} [{card_id({**result['card'], 'truncation': None})}]"
        scores = result["scores"]
        point = (math.inf if truncation is None else truncation, scores["fid"], scores["inception_score"])
        sweeps.setdefault(name, []).append(point)
    sweeps = {name: sorted(points) for name, points in sweeps.items() if len(points) > 1}
    if not sweeps:
        return ""
    rows = [
        (name, "none" if math.isinf(truncation) else f"{truncation:g}", f"{fid:.2f}", f"{score:.2f}")
        for name, points in sweeps.items()
        for truncation, fid, score in points
    ]
    figure = _figure(
        "Inception score over FID, by truncation",
        {name: ([fid for _, fid, _ in points], [score for *_, score in points]) for name, points in sweeps.items()},
        x_label="FID",
        point_labels=[
            (fid, score, " none" if math.isinf(truncation) else f" {truncation:g}")
            for points in sweeps.values()
            for truncation, fid, score in points
        ],
    )
    return f'<div class="figures">{figure}</div>{html_table(("sweep", "truncation", "FID", "IS"), rows)}'


def _cards(evaluations: Sequence[dict[str, Any]]) -> str:
    """One full card, and the differences of the others from it."""
    if not evaluations:
        return ""
    main = (most_comparable(evaluations) or evaluations)[0]
    entries = flat_card(main["card"])
    beside = flat_card(main["provenance"]) if "provenance" in main else {}
    whole = html_table(("protocol card", main["card_id"]), [*entries.items(), *beside.items()])
    others = [
        (name, entry, value)
        for name, group in by_card(evaluations).items()
        if name != main["card_id"]
        for entry, value in flat_card(group[0]["card"]).items()
        if value != entries.get(entry)
    ]
    return whole + (html_table(("other cards", "differ in", "which is"), others) if others else "")


def _image(path: str, caption: str) -> str:
    with tf.io.gfile.GFile(path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _newest_grid(grids: dict[int, str], run: RunDirectory, what: str) -> str:
    if not grids:
        return ""
    step, path = max(grids.items())
    pictures = _image(path, f"Step {step:,}{what}")
    if run.has_real_images():
        pictures += _image(run.real_images_path, "Training images of the same classes")
    return f'<div class="grids" style="max-width: 80rem">{pictures}</div>'


_GAN_PAGES = (
    ("explorer.html", "hamgan explore", "Explorer: classes, truncation, interpolation and directions of the generator"),
    ("neighbors.html", "hamgan neighbors", "Training images that are nearest to samples: does it memorize?"),
)
_SEGMENTATION_PAGES = (("evaluation.html", "hamnet evaluate", "Scores of each class, confusion and the worst images"),)


def _pages(run: RunDirectory, pages: Sequence[tuple[str, str, str]]) -> str:
    """Links to the other pages of the run, or the commands that write them."""
    items = []
    for name, command, title in pages:
        if tf.io.gfile.exists(os.path.join(run.path, name)):
            items.append(f'<a href="{name}">{title}</a>')
        else:
            items.append(f"{title} <code>{command} --run {html.escape(shlex.quote(run.path))}</code>")
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def _grids_over_time(grids: dict[int, str]) -> str:
    if len(grids) < 2:
        return ""
    steps = sorted(grids)
    count = min(MAX_GRIDS, len(steps))
    chosen = [steps[round(index * (len(steps) - 1) / (count - 1))] for index in range(count)]
    return f'<div class="grids">{"".join(_image(grids[step], f"Step {step:,}") for step in chosen)}</div>'
