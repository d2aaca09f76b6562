"""Figures of a comparison."""

from collections.abc import Mapping
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image

from context_lab import arms, seed_statistics
from context_lab.lab_page import values
from hamgan.sampling.grids import image_grid

WIDTH = 8.0
SCALE = 2


def draw_scores(results: Mapping[str, Any], path: str) -> None:
    """Draws the FID of each run as a dot, with the mean of each arm, and its confidence interval with enough seeds."""
    found = {name: arm for name, arm in results["arms"].items() if values(arm, "fid")}
    figure, axes = plt.subplots(figsize=(WIDTH, 1.2 + 0.25 * len(found)), layout="constrained")
    for row, arm in enumerate(found.values()):
        fids = list(values(arm, "fid").values())
        summary = seed_statistics.summary(fids)
        axes.plot(fids, [row] * len(fids), "o", color="tab:blue", alpha=0.5, markersize=4)
        # The interval of very few runs says nothing and would determine the scale.
        margin = summary.margin if summary.count >= seed_statistics.SMALLEST_TEST else None
        axes.errorbar(summary.mean, row, xerr=margin, fmt="|", color="black", capsize=3, markersize=10)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.set_xlabel(f"FID of each run, mean, and {seed_statistics.CONFIDENCE:.0%} interval of the arms with most seeds")
    axes.grid(alpha=0.3)
    figure.savefig(path)
    plt.close(figure)


def draw_spectra(results: Mapping[str, Any], path: str) -> None:
    """Draws the singular values before and after the module of each compared arm, mean over images and seeds."""
    found = {name: arm for name, arm in results["arms"].items() if arm["kind"] == "compared"}
    figure, grid = plt.subplots(1, len(arms.NETWORKS), figsize=(WIDTH, 4.0), layout="constrained", squeeze=False)
    for axes, network in zip(grid[0], arms.NETWORKS, strict=True):
        for index, (name, arm) in enumerate(found.items()):
            for place, style in (("before", ":"), ("after", "-")):
                runs = [run["spectra"][network][place] for run in arm["runs"].values() if "spectra" in run]
                if runs and not (name == arms.NONE and place == "before"):
                    mean = np.mean([run["singular_values"] for run in runs], axis=0)
                    label = name if place == "after" else None
                    axes.plot(np.arange(1, len(mean) + 1), mean, style, color=f"C{index}", label=label)
        axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(network)
        axes.set_xlabel("index")
        axes.set_ylabel("singular value / largest")
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small", title="after (dotted: before)", title_fontsize="small")
    figure.savefig(path)
    plt.close(figure)


def draw_samples(pictures: Mapping[str, str], path: str) -> None:
    """Arranges the pictures of arms in rows.

    Args:
        pictures: path of the picture of each arm, images side by side.
        path: file of the result.
    """
    rows = np.stack([np.asarray(Image.open(picture).convert("RGB")) for picture in pictures.values()])
    rows = rows.repeat(SCALE, axis=1).repeat(SCALE, axis=2)
    Image.fromarray(image_grid(rows, columns=1, row_names=list(pictures))).save(path)
