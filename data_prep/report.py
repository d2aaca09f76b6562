"""The report of a preparation: what was found, which problems there were and how they were handled."""

import collections
import dataclasses
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from data_prep.problems import KINDS, Problem
from hamgan.counted import counted
from hamgan.html_page import html_page, html_table

_MAX_PER_KIND_ON_PAGE = 100
_MAX_EXPANDED_ON_PAGE = 20
_MAX_PER_KIND_IN_LOG = 3


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What was found and written in one split.

    Args:
        source: path that the images were read from.
        expected: number of images that the split should have, or None if nothing is known about that.
        num_found: number of images found.
        found: number of images found for each label, shape ``(num_classes,)``.
        shard_lengths: number of examples in each record file.
        num_bytes: total size of the examples, in bytes.
    """

    source: str
    expected: str | None
    num_found: int
    found: np.ndarray
    shard_lengths: list[int]
    num_bytes: int

    @property
    def prepared(self) -> int:
        """Number of images written."""
        return sum(self.shard_lengths)


@dataclasses.dataclass(frozen=True)
class Report:
    """The report of preparing one form.

    Args:
        title: name of the collection.
        form: name of the TFDS data set.
        plan: digest of everything that the records depend on.
        class_names: name of each class, by label.
        settings: what to record of the request; "subset" is None unless only a part of the collection was requested.
        remarks: what the summary says of the request.
        splits: report of each split.
        problems: all problems of all splits.
        sections: further sections of the page, HTML by heading.
    """

    title: str
    form: str
    plan: str
    class_names: Sequence[str]
    settings: Mapping[str, Any]
    remarks: Sequence[str]
    splits: dict[str, SplitReport]
    problems: list[Problem]
    sections: Mapping[str, str]

    @property
    def serious(self) -> list[Problem]:
        """Problems that ``--strict`` rejects."""
        return [problem for problem in self.problems if problem.serious]

    def to_json(self) -> str:
        """Returns the report as JSON text, the content of ``preparation.json``."""
        values: dict[str, Any] = {
            "form": self.form,
            "plan": self.plan,
            **self.settings,
            "complete": not self.serious and self.settings["subset"] is None,
            "splits": {
                name: {
                    "source": split.source,
                    "images_found": split.num_found,
                    "images_prepared": split.prepared,
                    "record_files": len(split.shard_lengths),
                    "record_bytes": split.num_bytes,
                    "images_found_per_class": {
                        name: int(count) for name, count in zip(self.class_names, split.found, strict=True) if count
                    },
                }
                for name, split in self.splits.items()
            },
            "problems": [dataclasses.asdict(problem) for problem in self.problems],
        }
        return json.dumps(values, indent=1) + "\n"

    def to_html(self) -> str:
        """Returns the report as an HTML page."""
        summary = " · ".join(
            [counted(split.prepared, f"{name} image") for name, split in self.splits.items()]
            + [counted(len(self.serious), "problem") if self.serious else "no problems"]
            + list(self.remarks)
        )
        sections = {"Splits": self._split_table(), "Problems": self._problem_sections(), **self.sections}
        return html_page(f"{self.title} as {self.form}", summary, sections)

    def to_lines(self) -> list[str]:
        """Returns a summary of the report, one line per split."""
        lines = []
        for name, split in self.splits.items():
            size = f"{split.num_bytes / 2**30:.1f} GiB" if split.num_bytes >= 2**30 else f"{split.num_bytes:,} bytes"
            lines.append(
                f"{name:<12}{split.prepared:>11,} {'image' if split.prepared == 1 else 'images'} in "
                f"{counted(int(np.count_nonzero(split.found)), 'class')}, "
                f"{counted(len(split.shard_lengths), 'file')}, {size}"
            )
        return lines

    def _split_table(self) -> str:
        columns: dict[str, list[str]] = {}
        for name, split in self.splits.items():
            present = split.found[split.found > 0]
            cells = {
                "split": name,
                "found": f"{split.num_found:,}",
                "expected": split.expected,
                "prepared": f"{split.prepared:,}",
                "classes": f"{len(present):,}",
                "min per class": f"{min(present, default=0):,}",
                "max per class": f"{max(present, default=0):,}",
                "files": f"{len(split.shard_lengths):,}",
                "bytes": f"{split.num_bytes:,}",
            }
            for column, cell in cells.items():
                if cell is not None:
                    columns.setdefault(column, []).append(cell)
        return html_table(list(columns), zip(*columns.values(), strict=True))

    def _problem_sections(self) -> str:
        parts = []
        for kind, problems in group_by_kind(self.problems).items():
            items = [
                f"<li>{html.escape(f'{problem.split}: {_description(problem)}')}</li>"
                for problem in problems[:_MAX_PER_KIND_ON_PAGE]
            ]
            if len(problems) > len(items):
                items.append(f"<li>and {len(problems) - len(items):,} more; preparation.json lists all of them</li>")
            heading = html.escape(_heading(kind, len(problems)))
            is_open = KINDS[kind].serious and len(problems) <= _MAX_EXPANDED_ON_PAGE
            parts.append(
                f"<details{' open' if is_open else ''}><summary>{heading}</summary><ul>{''.join(items)}</ul></details>"
            )
        return "\n".join(parts) or "<p>None.</p>"


def group_by_kind(problems: list[Problem]) -> dict[str, list[Problem]]:
    """Returns problems grouped by kind, serious kinds first."""
    groups = collections.defaultdict(list)
    for problem in problems:
        groups[problem.kind].append(problem)
    order = sorted(groups, key=lambda kind: (not KINDS[kind].serious, list(KINDS).index(kind)))
    return {kind: groups[kind] for kind in order}


def problem_lines(problems: list[Problem]) -> list[str]:
    """Returns one line per kind of problem, with the first few examples of each."""
    lines = []
    for kind, group in group_by_kind(problems).items():
        examples = [_description(problem) for problem in group[:_MAX_PER_KIND_IN_LOG]]
        text = ", ".join(examples) + (", ..." if len(group) > len(examples) else "")
        level = "WARNING" if KINDS[kind].serious else "note"
        lines.append(f"{level:<8}{_heading(kind, len(group))}: {text}")
    return lines


def _heading(kind: str, count: int) -> str:
    return f"{KINDS[kind].meaning}: {count:,}, {KINDS[kind].remedy}"


def _description(problem: Problem) -> str:
    return f"{problem.where} ({problem.detail})" if problem.detail else problem.where
