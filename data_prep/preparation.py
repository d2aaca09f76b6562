"""The account of a preparation: what was found, what was odd and what was done about it; as JSON and as a page."""

import collections
import dataclasses
import html
import json
from typing import Any, NamedTuple

import numpy as np

from data_prep.ilsvrc import IMAGES_PER_CLASS, NUM_CLASSES, TOTALS, synsets
from data_prep.problems import KINDS, Problem
from hamgan.html_page import html_page, html_table

_SHOWN_ON_PAGE = 100
_OPENED_ON_PAGE = 20
_SHOWN_IN_TERMINAL = 3


class Selection(NamedTuple):
    """Which part of ImageNet to prepare: all of it by default.

    Args:
        synsets: the classes, or None for all.
        per_class: how many images of each class at most, in each split, or None for all.
    """

    synsets: tuple[str, ...] | None = None
    per_class: int | None = None

    @property
    def is_subset(self) -> bool:
        """Whether anything is left out on purpose."""
        return self != Selection()


@dataclasses.dataclass(frozen=True)
class SplitAccount:
    """One split: where it came from, how many images of each label were found, and what was written."""

    source: str
    found: np.ndarray
    shard_lengths: list[int]
    num_bytes: int

    @property
    def prepared(self) -> int:
        """How many images were written."""
        return sum(self.shard_lengths)


_HOW_CHECKED = {"structure": "every image's structure was checked", "full": "every image was decoded"}


@dataclasses.dataclass(frozen=True)
class Account:
    """All that is to be said about one preparation in one form."""

    form: str
    plan: str
    """Digest of what the records depend on."""
    selection: Selection
    check: str
    """How images were checked, one of ``data_prep.photograph.CHECKS``."""
    splits: dict[str, SplitAccount]
    problems: list[Problem]

    @property
    def serious(self) -> list[Problem]:
        """The problems that ``--strict`` refuses."""
        return [problem for problem in self.problems if problem.serious]

    def to_json(self) -> str:
        """Returns the account as JSON text, the same for the same preparation."""
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
        """Returns the account as a page."""
        summary = " · ".join(
            [f"{split.prepared:,} {name} images" for name, split in self.splits.items()]
            + [f"{len(self.serious):,} problems" if self.serious else "nothing is wrong"]
            + [_HOW_CHECKED[self.check]]
            + (["a subset, on purpose"] if self.selection.is_subset else [])
        )
        sections = {"What was prepared": self._split_table(), "What was odd": self._problem_sections()}
        return html_page(f"ImageNet as {self.form}", summary, sections)

    def to_lines(self) -> list[str]:
        """Returns the account as lines for a terminal."""
        lines = []
        for name, split in self.splits.items():
            size = f"{split.num_bytes / 2**30:.1f} GiB" if split.num_bytes >= 2**30 else f"{split.num_bytes:,} bytes"
            lines.append(
                f"{name:<12}{split.prepared:>11,} images of {np.count_nonzero(split.found):,} classes, "
                f"{len(split.shard_lengths):,} files, {size}"
            )
        return lines

    def _split_table(self) -> str:
        header = ("split", "found", "expected", "prepared", "classes", "fewest of a class", "most", "files", "bytes")
        rows = []
        for name, split in self.splits.items():
            present = split.found[split.found > 0]
            rows.append(
                (
                    name,
                    f"{split.found.sum():,}",
                    "-" if self.selection.is_subset else f"{TOTALS[name]:,}",
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
        for kind, problems in by_kind(self.problems).items():
            items = [
                f"<li>{html.escape(f'{problem.split}: {_described(problem)}')}</li>"
                for problem in problems[:_SHOWN_ON_PAGE]
            ]
            if len(problems) > len(items):
                items.append(f"<li>and {len(problems) - len(items):,} more, all of them in preparation.json</li>")
            heading = html.escape(_headed(kind, len(problems)))
            opened = " open" if KINDS[kind].serious and len(problems) <= _OPENED_ON_PAGE else ""
            parts.append(f"<details{opened}><summary>{heading}</summary><ul>{''.join(items)}</ul></details>")
        return "\n".join(parts) or "<p>Nothing.</p>"


def by_kind(problems: list[Problem]) -> dict[str, list[Problem]]:
    """Returns problems by kind, the serious kinds first."""
    groups = collections.defaultdict(list)
    for problem in problems:
        groups[problem.kind].append(problem)
    order = sorted(groups, key=lambda kind: (not KINDS[kind].serious, list(KINDS).index(kind)))
    return {kind: groups[kind] for kind in order}


def problem_lines(problems: list[Problem]) -> list[str]:
    """Returns one line for each kind of problem, with the first few examples."""
    lines = []
    for kind, group in by_kind(problems).items():
        examples = [_described(problem) for problem in group[:_SHOWN_IN_TERMINAL]]
        shown = ", ".join(examples) + (", ..." if len(group) > len(examples) else "")
        mark = "WARNING" if KINDS[kind].serious else "note"
        lines.append(f"{mark:<8}{_headed(kind, len(group))}: {shown}")
    return lines


def _headed(kind: str, count: int) -> str:
    return f"{KINDS[kind].meaning}: {count:,}, {KINDS[kind].remedy}"


def _described(problem: Problem) -> str:
    return f"{problem.where} ({problem.detail})" if problem.detail else problem.where


def completeness_problems(split: str, found: np.ndarray, selection: Selection) -> list[Problem]:
    """Compares the images found with what ILSVRC 2012 has.

    Args:
        split: "train" or "validation".
        found: images by label, ``(1000,)``, before any were left out for ``per_class``.
        selection: what was asked for.
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
    if len(wanted) == NUM_CLASSES and found.sum() != TOTALS[split]:
        detail = f"expected {TOTALS[split]:,} images, found {found.sum():,}"
        problems.append(Problem(split, "total", f"all {split} images", detail))
    return problems
