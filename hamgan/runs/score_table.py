"""Formatting of scores, for tables in the terminal and in the report."""

from typing import Any

from hamgan.text_table import text_table

COLUMNS = (
    ("FID", "fid", "{:.2f}"),
    ("FID train", "fid_train", "{:.2f}"),
    ("IS", "inception_score", "{:.2f}"),
    ("KID", "kid", "{:.4g}"),
    ("precision", "precision", "{:.3f}"),
    ("recall", "recall", "{:.3f}"),
    ("density", "density", "{:.3f}"),
    ("coverage", "coverage", "{:.3f}"),
    ("accuracy", "accuracy", "{:.1%}"),
)
"""Title, name and format of the scores."""


def table(results: list[dict[str, Any]]) -> str:
    """Returns an aligned text table of results and the real images' scores, followed by optional scores."""
    columns = [column for column in COLUMNS if any(result["scores"].get(column[1]) is not None for result in results)]
    has_truncation = any(result["card"].get("truncation") for result in results)
    rows = [["step", *(["truncation"] if has_truncation else []), *(title for title, _, _ in columns)]]
    for result in results:
        truncation = [_truncation(result)]
        rows.append(
            [
                _step(result),
                *(truncation if has_truncation else []),
                *(shown(result, name, form) for _, name, form in columns),
            ]
        )
    if results:
        real = real_of(results[-1])
        rows.append(
            ["real", *(["-"] if has_truncation else []), *(shown(real, name, form) for _, name, form in columns)]
        )
    lines = [text_table(rows)]
    for result in results:
        at = f"step {_step(result)}" + ("" if _truncation(result) == "-" else f", truncation {_truncation(result)}")
        lines += [f"{name}, {at}: {value:.2f}" for name, value in extra_scores(result)]
    sources = {result["source"]: None for result in results if result["source"] is not None}
    lines += [f"* {source}: not this run's checkpoint, and on none of its curves" for source in sources]
    return "\n".join(lines)


def comparison_table(result: dict[str, Any]) -> str:
    """Returns an aligned text table of a result of :func:`hamgan.score`, and of its reference."""
    scored = {"scores": {}, "spread": {}, "standard_errors": {}, **result}
    columns = [column for column in COLUMNS if column[1] in scored["scores"] or column[1] in result["real"]]
    rows = [["", "images", *(title for title, _, _ in columns)]]
    for side, of_side in (("fakes", scored), ("reference", real_of(result))):
        if side in result["card"]:
            count = result["card"][side]["images"]
            images = "-" if count is None else f"{count:,}"
            rows.append([side, images, *(shown(of_side, name, form) for _, name, form in columns)])
    return text_table(rows)


def real_of(result: dict[str, Any]) -> dict[str, Any]:
    """Returns a result with the scores of the real images."""
    return {"scores": result["real"], "spread": {}, "standard_errors": {}}


def _step(result: dict[str, Any]) -> str:
    return str(result["step"]) + ("" if result["source"] is None else "*")


def _truncation(result: dict[str, Any]) -> str:
    truncation = result["card"].get("truncation")
    return "-" if truncation is None else str(truncation)


def extra_scores(result: dict[str, Any]) -> list[tuple[str, float]]:
    """Returns the names and values of optional scores, such as the FID of single classes."""
    infinity = result["fid_infinity"]
    extras = [] if infinity is None else [("FID of infinitely many fakes", infinity)]
    return extras + [(f"FID of class {label}", value) for label, value in result["intra_fid"].items()]


def shown(result: dict[str, Any], name: str, form: str) -> str:
    """Returns a score as text, with its spread over repeats or its standard error, if any."""
    value = result["scores"].get(name)
    if value is None:
        return "-"
    error = result["spread"].get(name, result["standard_errors"].get(name))
    text = form.format(value)
    if text.startswith("-") and float(text.rstrip("%")) == 0:
        text = text[1:]  # Rounding errors can make the FID of equal images slightly negative.
    return text + (f" ± {form.format(error)}" if error is not None else "")


def one_line(result: dict[str, Any]) -> str:
    """Returns a result's scores as one line."""
    scored = [(title, shown(result, name, form)) for title, name, form in COLUMNS]
    return ", ".join(f"{title} {text}" for title, text in scored if text != "-")
