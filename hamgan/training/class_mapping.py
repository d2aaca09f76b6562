"""Correspondence between the classes of two runs."""

import dataclasses
import itertools
from collections.abc import Sequence

from hamgan.config.class_lists import class_list_name


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes of a run.

    Args:
        dataset: name of the data set.
        count: number of classes.
        names: name of each class; None if the run did not record them.
    """

    dataset: str
    count: int
    names: tuple[str, ...] | None

    def name(self, label: int) -> str:
        """Returns the name of a class, or its label if the run did not record names."""
        return str(label) if self.names is None else self.names[label]

    @property
    def are_numbered(self) -> bool:
        """Whether the names are only the labels, as TFDS names the classes of data sets without names."""
        return self.names == tuple(str(label) for label in range(self.count))


def matching_labels(source: Classes, new: Classes) -> list[int | None]:
    """Returns the source's label of each new class, or None for classes that the source does not have.

    Classes correspond if they have equal names. There are two exceptions:

    - If the names of both are only the labels, they say nothing about the classes, unless the data set is the same.
    - If the source did not record names, labels correspond if data set and number of classes are the same.

    Example:
        >>> from hamgan.training.class_mapping import Classes, matching_labels
        >>> matching_labels(Classes("pets", 2, ("cat", "dog")), Classes("zoo", 3, ("dog", "emu", "cat")))
        [1, None, 0]
    """
    is_same = class_list_name(source.dataset) == class_list_name(new.dataset)
    if source.names is None or new.names is None:
        matches = is_same and source.count == new.count
        return list(range(new.count)) if matches else [None] * new.count
    if source.are_numbered and new.are_numbered and not is_same:
        return [None] * new.count
    labels = {name: label for label, name in enumerate(source.names)}
    return [labels.get(name) for name in new.names]


def starting_labels(matches: Sequence[int | None], source_count: int) -> list[int]:
    """Returns the source's label that each new class starts from.

    A class that the source does not have starts from another class. Those that correspond to no new class come first,
    in order; if they do not suffice, they are used again. A mean for all of them would give the discriminator no
    information about their classes at the start.

    Args:
        matches: result of :func:`matching_labels`.
        source_count: number of classes of the source.

    Example:
        >>> from hamgan.training.class_mapping import starting_labels
        >>> starting_labels([1, None, 0, None], source_count=3)
        [1, 2, 0, 2]
    """
    matched = set(matches)
    unmatched = [label for label in range(source_count) if label not in matched]
    substitutes = itertools.cycle(unmatched or range(source_count))
    return [next(substitutes) if label is None else label for label in matches]
