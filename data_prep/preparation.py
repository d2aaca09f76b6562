"""The input of a preparation: what to prepare, and how."""

import dataclasses
from typing import NamedTuple

from data_prep.forms import Form


class Selection(NamedTuple):
    """The part of ImageNet to prepare, by default all of it.

    Args:
        synsets: classes to prepare, or None for all.
        per_class: maximum number of images per class in each split, or None for all.
    """

    synsets: tuple[str, ...] | None = None
    per_class: int | None = None

    @property
    def is_subset(self) -> bool:
        """Whether the selection leaves anything out."""
        return self != Selection()


@dataclasses.dataclass(frozen=True)
class Request:
    """What to prepare, and how.

    Args:
        sources: tar or folder of each split; one split may be absent.
        data_dir: folder of TFDS data sets, local or ``gs://``.
        forms: forms to write.
        selection: part of ImageNet to prepare.
        check: how to check images, one of ``data_prep.photograph.CHECKS``.
        strict: whether to reject serious problems instead of repairing or skipping the images.
        workers: number of processes, or None for the default.
        beam_options: pipeline options of Apache Beam, or None to write without it.
    """

    sources: dict[str, str]
    data_dir: str
    forms: list[Form]
    selection: Selection
    check: str = "structure"
    strict: bool = False
    workers: int | None = None
    beam_options: list[str] | None = None
