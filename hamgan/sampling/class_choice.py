"""Choice of classes by text: names, numbers, ranges and WordNet ids."""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hamgan.config.class_lists import parse_range
from hamgan.errors import UserError
from hamgan.sampling.imagenet_names import readable_names, synset_names

if TYPE_CHECKING:
    from hamgan.sampling.trained import Run

_ITEM = re.compile(r'\s*("(?:[^"]|"")*"|(?!\s*")[^,]*?)\s*(?:,|\Z)')
_QUOTED = re.compile(r'"((?:[^"]|"")*)"')
_NUMBER = re.compile(r"#?([0-9]+)")
_MOST_SUGGESTIONS = 3
_SIMILARITY = 0.7


def parse_class_list(text: str, run: "Run", *, option: str = "--classes") -> list[int]:
    """Parses a comma-separated list of classes, as commands take it.

    Args:
        text: text of the list. Each item is a name, a number, a range of numbers, ``#`` and a number, or a WordNet id;
            see :func:`labels_of`. A name with commas stands in double quotes.
        run: run whose classes are chosen.
        option: name of the option, for errors.

    Returns:
        Labels, in the order of the list.

    Raises:
        UserError: if an item is not a class of the run, or has several meanings.

    Example:
        >>> import hamgan
        >>> from hamgan.sampling.class_choice import parse_class_list
        >>> parse_class_list("3,7-9", hamgan.load("runs/digits"))
        [3, 7, 8, 9]
    """
    return labels_of(split_class_list(text, option=option), run.class_names, where=run.path)


def split_class_list(text: str, *, option: str = "--classes") -> list[str]:
    """Splits a comma-separated list; items in double quotes may contain commas and keep their quotes.

    Raises:
        UserError: if an item is empty, or text follows a closing quote.

    Example:
        >>> from hamgan.sampling.class_choice import split_class_list
        >>> split_class_list('roses, "large, blue",#7')
        ['roses', '"large, blue"', '#7']
    """
    items: list[str] = []
    position = 0
    while position <= len(text):
        match = _ITEM.match(text, position)
        if match is None:
            raise UserError(
                f"{option}: expected names separated by commas, with names that contain commas or quotes in double "
                f"quotes, found {text}"
            )
        if not match[1]:
            raise UserError(f"{option}: expected classes separated by commas, found an empty one in '{text}'")
        items.append(match[1])
        if match.end() == len(text) and not match[0].endswith(","):
            break
        position = match.end()
    return items


def labels_of(classes: Iterable[int | str], class_names: Sequence[str], *, where: str) -> list[int]:
    """Returns the labels of classes.

    Text is the name of a class, or else a number, a range of numbers, or ``#`` and a number. The classes of ImageNet
    are named by their WordNet ids and by readable names.

    Args:
        classes: classes as text, or labels as integers.
        class_names: name of each class. Names that are WordNet ids of ImageNet also stand for their readable names.
        where: path of the run, for errors.

    Returns:
        Labels, in the same order; a range stands for all of its labels.

    Raises:
        UserError: if a class does not exist, or if text has several meanings: the name of several classes, or the name
            of one class and the number of another.

    Example:
        >>> from hamgan.sampling.class_choice import labels_of
        >>> labels_of(["tulips", 0, "#1", "0-2"], ["roses", "tulips", "9"], where="runs/flowers")
        [1, 0, 1, 0, 1, 2]
        >>> labels_of(["tabby"], ["n02123045"], where="runs/cats")
        [0]
    """
    choice = _Choice(class_names, where)
    return [label for item in classes for label in choice.labels(item)]


class _Choice:
    """The meanings of text for the classes of one run."""

    def __init__(self, class_names: Sequence[str], where: str) -> None:
        self._names = class_names
        self._readable = readable_names(class_names)
        self._where = where

    def labels(self, item: int | str) -> Sequence[int]:
        if not isinstance(item, str):
            return self._in_range(range(item, item + 1), str(item))
        named = self._named(item)
        number = _NUMBER.fullmatch(item)
        if named and number and [int(number[1])] != named:
            raise UserError(self._both(item, named, int(number[1])))
        if not named and (quoted := _QUOTED.fullmatch(item)):
            named = self._named(quoted[1].replace('""', '"'))
        if len(named) > 1:
            unique = [self._unique(label) for label in named]
            found = " and ".join(self._described(label) for label in named)
            raise UserError(
                f"'{item}' is the name of {len(named)} classes of {self._where}: {found}; write {' or '.join(unique)}"
            )
        if named:
            return named
        numbered = parse_range(number[1] if number else item)
        if numbered is None:
            raise UserError(f"unknown class '{item}' of {self._where}{self._suggestions(item)}")
        return self._in_range(numbered, item)

    def _named(self, text: str) -> list[int]:
        """Returns the labels of the classes with a name."""
        names = zip(self._names, self._readable, strict=True)
        return [label for label, both in enumerate(names) if text in both]

    def _in_range(self, labels: range, text: str) -> range:
        if not labels or labels[0] < 0 or labels[-1] >= len(self._names):
            raise UserError(f"classes of {self._where} are 0 to {len(self._names) - 1}, found {text}")
        return labels

    def _both(self, text: str, named: Sequence[int], number: int) -> str:
        name = " and ".join(self._described(label) for label in named)
        forms = [f"'\"{text}\"', with the double quotes, for the name"]
        if number < len(self._names):
            forms.append(f"{number}-{number} for the number" if text.startswith("#") else f"#{number} for the number")
        return f"'{text}' is both a number and the name of class {name} of {self._where}; write {' or '.join(forms)}"

    def _unique(self, label: int) -> str:
        return self._names[label] if synset_names(self._names[label]) else f"#{label}"

    def _described(self, label: int) -> str:
        """Returns the number of a class, with its WordNet id if it has one."""
        name = self._names[label]
        return f"#{label} ({name})" if synset_names(name) else f"#{label}"

    def _suggestions(self, text: str) -> str:
        """Returns the classes whose names resemble a text: ``"; did you mean 'tabby' (281, n02123045)?"``."""
        aliases: dict[str, list[int]] = {}
        for label, name in enumerate(self._names):
            for alias in {alias.casefold() for alias in (name, *synset_names(name))}:
                aliases.setdefault(alias, []).append(label)
        sought = text.strip('"').casefold()
        close = [sought] if sought in aliases else [alias for alias in aliases if f" {sought} " in f" {alias} "]
        close = close or difflib.get_close_matches(sought, aliases, n=_MOST_SUGGESTIONS, cutoff=_SIMILARITY)
        labels = list(dict.fromkeys(label for alias in close for label in aliases[alias]))[:_MOST_SUGGESTIONS]
        if not labels:
            return f"; labels are 0 to {len(self._names) - 1}"
        described = [self._suggested(label) for label in labels]
        listed = described[0] if len(described) == 1 else f"{', '.join(described[:-1])} or {described[-1]}"
        return f"; did you mean {listed}?"

    def _suggested(self, label: int) -> str:
        name = self._names[label]
        synset = f", {name}" if synset_names(name) else ""
        return f"'{self._readable[label]}' ({label}{synset})"
