"""The report of a preparation: what was found, which problems there were and how they were handled."""

import collections
import dataclasses
import html
import json
from typing import Any

import numpy as np

from data_prep.ilsvrc import IMAGES_PER_CLASS, NUM_CLASSES, NUM_IMAGES, synsets
from data_prep.preparation import Selection
from data_prep.problems import KINDS, Problem
from hamgan.html_page import html_page, html_table

_MAX_PER_KIND_ON_PAGE = 100
_MAX_EXPANDED_ON_PAGE = 20
_MAX_PER_KIND_IN_LOG = 3
_CHECK_SUMMARIES = {"structure": "the structure of every image was checked", "full": "every image was decoded"}


@dataclasses.dataclass(frozen=True)
class SplitReport:
    """What was found and written in one split.

    Args:
        source: tar or folder that the images were read from.
        found: number of images found for each label, shape ``(1000,)``.
        shard_lengths: number of examples in each record file.
        num_bytes: total size of the examples, in bytes.
    """

    source: str
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
        form: name of the TFDS data set.
        plan: digest of everything that the records depend on.
        selection: part of ImageNet that was requested.
        check: how images were checked, one of ``data_prep.photograph.CHECKS``.
        splits: report of each split.
        problems: all problems of all splits.
    """

    form: str
    plan: str
    selection: Selection
    check: str
    splits: dict[str, SplitReport]
    problems: list[Problem]

    @property
    def serious(self) -> list[Problem]:
        """Problems that ``--strict`` rejects."""
        return [problem for problem in self.problems if problem.serious]

    def to_json(self) -> str:
        """Returns the report as JSON text, the content of ``preparation.json``."""
        values: dict[str, Any] = {
            "form": self.form,
            "plan": self.plan,
            "subset": self.selection._asdict() if self.selection.is_subset else None,
            "check": self.check,
            "complete": not self.serious and not self.selection.is_subset,
            "splits": {
                name: {
                    "source": split.source,
                    "images_found": int(split.found.sum()),
                    "images_prepared": split.prepared,
                    "record_files": len(split.shard_lengths),
                    "record_bytes": split.num_bytes,
                    "images_found_per_class": {
                        synset: int(count) for synset, count in zip(synsets(), split.found, strict=True) if count
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
            [f"{split.prepared:,} {name} images" for name, split in self.splits.items()]
            + [f"{len(self.serious):,} problems" if self.serious else "no problems"]
            + [_CHECK_SUMMARIES[self.check]]
            + (["a subset, as requested"] if self.selection.is_subset else [])
        )
        sections = {"Splits": self._split_table(), "Problems": self._problem_sections()}
        return html_page(f"ImageNet as {self.form}", summary, sections)

    def to_lines(self) -> list[str]:
        """Returns a summary of the report, one line per split."""
        lines = []
        for name, split in self.splits.items():
            size = f"{split.num_bytes / 2**30:.1f} GiB" if split.num_bytes >= 2**30 else f"{split.num_bytes:,} bytes"
            lines.append(
                f"{name:<12}{split.prepared:>11,} images in {np.count_nonzero(split.found):,} classes, "
                f"{len(split.shard_lengths):,} files, {size}"
            )
        return lines

    def _split_table(self) -> str:
        header = (
            "split",
            "found",
            "expected",
            "prepared",
            "classes",
            "min per class",
            "max per class",
            "files",
            "bytes",
        )
        rows = []
        for name, split in self.splits.items():
            present = split.found[split.found > 0]
            rows.append(
                (
                    name,
                    f"{split.found.sum():,}",
                    "-" if self.selection.is_subset else f"{NUM_IMAGES[name]:,}",
                    f"{split.prepared:,}",
                    f"{len(present):,}",
                    f"{min(present, default=0):,}",
                    f"{max(present, default=0):,}",
                    f"{len(split.shard_lengths):,}",
                    f"{split.num_bytes:,}",
                )
            )
        return html_table(header, rows)

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


def completeness_problems(split: str, found: np.ndarray, selection: Selection) -> list[Problem]:
    """Compares the number of images found with ILSVRC 2012.

    Args:
        split: "train" or "validation".
        found: number of images for each label, shape ``(1000,)``, before ``selection.per_class`` is applied.
        selection: part of ImageNet that was requested.
    """
    problems = []
    wanted = synsets() if selection.synsets is None else selection.synsets
    fewest, most = IMAGES_PER_CLASS[split]
    expected = f"expected {fewest}" if fewest == most else f"expected {fewest} to {most:,}"
    for label, synset in enumerate(synsets()):
        if synset in wanted and not found[label]:
            problems.append(Problem(split, "missing_synset", synset))
        elif synset in wanted and not fewest <= found[label] <= most:
            problems.append(Problem(split, "class_count", synset, f"{expected} images, found {found[label]:,}"))
    if len(wanted) == NUM_CLASSES and found.sum() != NUM_IMAGES[split]:
        detail = f"expected {NUM_IMAGES[split]:,} images, found {found.sum():,}"
        problems.append(Problem(split, "total", f"all {split} images", detail))
    return problems
