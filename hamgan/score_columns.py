"""Scores as people read them: the columns of tables in the terminal and on the page."""

from typing import Any

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
    """Returns results, and the real images' scores, as an aligned text table; below it, what was asked for besides."""
    columns = [column for column in COLUMNS if any(result["scores"].get(column[1]) is not None for result in results)]
    has_truncation = any(result["card"]["truncation"] for result in results)
    rows = [["step", *(["truncation"] if has_truncation else []), *(title for title, _, _ in columns)]]
    for result in results:
        truncation = ["-" if result["card"]["truncation"] is None else str(result["card"]["truncation"])]
        rows.append(
            [
                str(result["step"]),
                *(truncation if has_truncation else []),
                *(shown(result, name, form) for _, name, form in columns),
            ]
        )
    if results:
        real = {"scores": results[-1]["real"], "spread": {}, "standard_errors": {}}
        rows.append(
            ["real", *(["-"] if has_truncation else []), *(shown(real, name, form) for _, name, form in columns)]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    for result in results:
        truncation = result["card"]["truncation"]
        at = f"step {result['step']}" + (f", truncation {truncation}" if truncation is not None else "")
        lines += [f"{name}, {at}: {value:.2f}" for name, value in extra_scores(result)]
    return "\n".join(lines)


def extra_scores(result: dict[str, Any]) -> list[tuple[str, float]]:
    """Returns the names and values of what was asked for besides."""
    infinity = result["fid_infinity"]
    extras = [] if infinity is None else [("FID of infinitely many fakes", infinity)]
    return extras + [(f"FID of class {label}", value) for label, value in result["intra_fid"].items()]


def shown(result: dict[str, Any], name: str, form: str) -> str:
    """Returns a score as text, with its spread over repeats or its standard error if it has one."""
    value = result["scores"].get(name)
    if value is None:
        return "-"
    error = result["spread"].get(name, result["standard_errors"].get(name))
    return form.format(value) + (f" ± {form.format(error)}" if error is not None else "")


def one_line(result: dict[str, Any]) -> str:
    """Returns a result's scores as one line."""
    scored = [(title, shown(result, name, form)) for title, name, form in COLUMNS]
    return ", ".join(f"{title} {text}" for title, text in scored if text != "-")
