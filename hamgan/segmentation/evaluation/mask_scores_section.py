"""Section of a report about all evaluations of a run: curves of mIoU over training steps, and a table."""

from matplotlib.figure import Figure

from hamgan.counted import counted
from hamgan.html_page import html_table
from hamgan.runs.directory import RunDirectory
from hamgan.runs.figure_svg import figure_svg
from hamgan.segmentation.evaluation.evaluate import SegmentationEvaluation, percent
from hamgan.segmentation.evaluation.mask_scores_files import group_of, read_results

_INCHES = (6.4, 3.2)


def mask_scores_section(run: RunDirectory) -> str:
    """Returns the section as HTML.

    Args:
        run: folder of the run.

    Raises:
        UserError: if a result is damaged or cannot be read.
    """
    groups: dict[str, list[dict]] = {}
    for result in read_results(run):
        groups.setdefault(group_of(result), []).append(result)
    rows, curves = [], {}
    for results in groups.values():
        settings = SegmentationEvaluation.from_values(results[0]).settings.describe()
        data = results[0]["data"]
        scored = f"{data['dataset']}, {data['split']}, {counted(data['num_images'], 'image')}"
        rows += [(f"{result['step']:,}", scored, settings, percent(result["mean_iou"])) for result in results]
        if len({result["step"] for result in results}) > 1:
            curves[f"{scored}, {settings}"] = [(result["step"], 100 * result["mean_iou"]) for result in results]
    table = html_table(("step", "data", "settings", "mIoU, %"), rows)
    return f'<div class="figures">{_plot(curves)}</div>{table}' if curves else table


def _plot(curves: dict[str, list[tuple[int, float]]]) -> str:
    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1.2, marker="o", markersize=3)
    axes.set_title("mIoU, %")
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="x-small")
    return f"<figure>{figure_svg(figure, 'mIoU')}</figure>"
