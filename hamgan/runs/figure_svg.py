"""Matplotlib figures as SVG, for HTML pages."""

import io

import matplotlib
from matplotlib.figure import Figure


def figure_svg(figure: Figure, name: str) -> str:
    """Returns a figure as an SVG element, the same for the same figure.

    Args:
        figure: Matplotlib figure.
        name: name that is unique on the page; ids within the SVG are derived from it.
    """
    buffer = io.StringIO()
    # Fixed ids and no date keep the page reproducible.
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    return svg[svg.index("<svg") :]
