"""Finds the class and the split of each picture from the paths in a source, or from its labels.csv."""

import collections
import csv
import dataclasses
import io
import unicodedata
from collections.abc import Collection as AnyCollection
from collections.abc import Sequence

from data_prep.problems import Problem
from data_prep.source_files import SOURCE
from hamgan.counted import counted
from hamgan.errors import UserError

LABELS = "labels.csv"
"""Name of the table of labels."""

FLAT = "pictures without folders"
"""Description of a source whose pictures are one class."""

_HEADERS = (("file", "label"), ("file_name", "label"), ("filename", "label"))
_TRAIN_FOLDERS = ("train", "training")
_VALIDATION_FOLDERS = ("validation", "valid", "val", "test", "testing")
"""Folders of held-out pictures. If there are several, the first of these names is the validation split."""
_MAX_NAMED = 5


@dataclasses.dataclass(frozen=True)
class Layout:
    """Classes and splits of the pictures of a source.

    Args:
        description: the layout in words, for the report.
        class_of: name of each picture's class, by the picture's name. Pictures that are skipped are missing.
        split_of: split of each picture, or None if the source has no splits.
        problems: problems found.
    """

    description: str
    class_of: dict[str, str]
    split_of: dict[str, str] | None
    problems: list[Problem]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of all classes, in the order of their labels."""
        return tuple(sorted(set(self.class_of.values())))


def wrapping_folder(pictures: Sequence[str], tables: AnyCollection[str]) -> str:
    """Returns the folder that holds the classes or splits, ending in "/"; empty if that is the source itself.

    Args:
        pictures: names of all pictures.
        tables: names of all files called ``labels.csv``.
    """
    prefix = ""
    while prefix + LABELS not in tables:
        tops = _top_folders(pictures, prefix)
        num_beside = len(tops.pop("", ()))
        if len(tops) != 1:
            break
        ((top, inside),) = tops.items()
        inner = f"{prefix}{top}/"
        num_direct = len(_top_folders(inside, inner).get("", ()))
        # The only folder is a class if it holds pictures itself; a few of them may lie beside class folders.
        is_class = num_direct >= len(inside) - num_direct and inner + LABELS not in tables
        if is_class or num_beside >= len(inside):
            break
        prefix, pictures = inner, inside
    return prefix


def find_layout(source: str, pictures: Sequence[str], *, default_class: str) -> Layout:
    """Returns the layout of a source without ``labels.csv``.

    Args:
        source: path of the source, for messages.
        pictures: names of all pictures, relative to the source; at least one.
        default_class: name of the only class if there are no folders.

    Raises:
        UserError: the layout is ambiguous, or the name of a class cannot be stored.
    """
    tops = _top_folders(pictures, "")
    stray = tops.pop("", [])
    held_out = sorted((top for top in tops if top.casefold() in _VALIDATION_FOLDERS), key=_priority)
    train = [top for top in tops if top.casefold() in _TRAIN_FOLDERS]
    others = sorted(set(tops) - set(held_out) - set(train))
    if train and held_out:
        if others or len(train) > 1:
            raise UserError(
                f"{source} holds {_listed(train + held_out)} beside {_listed(others or train[1:])}: expected either "
                "folders train and validation, or one folder per class; move the others away"
            )
        return _split_layout(source, tops, train[0], held_out, stray, default_class)
    has_subfolders = {top: any(name.count("/") > 1 for name in names) for top, names in tops.items()}
    if train and others and all(has_subfolders[top] for top in train):
        raise UserError(
            f"{source} holds {_listed(train)} beside {_listed(others)}: expected either folders train and validation, "
            f"or one folder per class; did you mean --source {source}/{train[0]}?"
        )
    if held_out and not train and not others and all(has_subfolders[top] for top in held_out):
        raise UserError(
            f"{source} holds {_listed(held_out)} but no folder train; rename the folder of the training pictures, or "
            f"pass --source {source}/{held_out[0]}"
        )
    class_of, problems = _classes(source, SOURCE, "", pictures, default_class)
    subfolders = {top: _top_folders(names, f"{top}/") for top, names in tops.items()}
    if len(tops) > 1 and all("" not in below and len(below) > 1 for below in subfolders.values()):
        for top, below in subfolders.items():
            problems.append(Problem(SOURCE, "only_subfolders", top, _listed(sorted(below))))
    return Layout("one folder per class" if tops else FLAT, class_of, None, problems)


def _split_layout(
    source: str, tops: dict[str, list[str]], train: str, held_out: list[str], stray: list[str], default_class: str
) -> Layout:
    validation, *unused = held_out
    problems = [Problem("train", "unlabeled", name) for name in stray]
    for top in unused:
        problems.append(
            Problem(SOURCE, "unused_split", top, f"{counted(len(tops[top]), 'picture')}; {validation} is used")
        )
    class_of: dict[str, str] = {}
    split_of: dict[str, str] = {}
    classes: dict[str, set[str]] = {}
    for split, top in (("train", train), ("validation", validation)):
        found, split_problems = _classes(source, split, f"{top}/", tops[top], default_class)
        problems += split_problems
        class_of |= found
        split_of |= dict.fromkeys(found, split)
        classes[split] = set(found.values())
    unknown = sorted(classes["validation"] - classes["train"])
    if unknown:
        raise UserError(
            f"{source}/{validation} holds classes that {source}/{train} does not have: {_listed(unknown)}; expected "
            "the same class folders in both"
        )
    problems += [
        Problem("validation", "no_validation", name) for name in sorted(classes["train"] - classes["validation"])
    ]
    return Layout(f"folders {train} and {validation}", class_of, split_of, problems)


def _classes(
    source: str, split: str, prefix: str, pictures: Sequence[str], default_class: str
) -> tuple[dict[str, str], list[Problem]]:
    """Returns the class of each picture below a folder, by its first folder there."""
    folders = _top_folders(pictures, prefix)
    stray = folders.pop("", [])
    if not folders:
        return dict.fromkeys(stray, default_class), []
    num_in_folders = sum(map(len, folders.values()))
    if len(stray) >= num_in_folders:
        raise UserError(
            f"{source}/{prefix} holds {counted(len(stray), 'picture')}, such as {stray[0].removeprefix(prefix)}, "
            f"beside folders with {counted(num_in_folders, 'picture')} ({_listed(sorted(folders))}): expected one "
            "folder per class, or no folders; move the pictures or the folders away"
        )
    names = {folder: checked_class_name(folder, f"the folder {source}/{prefix}{folder}") for folder in folders}
    by_name = {name: folder for folder, name in names.items()}
    for folder, name in names.items():
        if by_name[name] != folder:
            raise UserError(
                f"the folders '{folder}' and '{by_name[name]}' in {source} differ only in spaces or in the encoding "
                "of accents; rename one of them"
            )
    class_of = {picture: names[folder] for folder, members in folders.items() for picture in members}
    return class_of, [Problem(split, "unlabeled", name) for name in stray]


def table_layout(source: str, table: bytes, pictures: AnyCollection[str]) -> Layout:
    """Returns the layout of a source with a table of labels.

    Args:
        source: path of the source, for messages.
        table: content of ``labels.csv``.
        pictures: names of all pictures, relative to the table.

    Raises:
        UserError: the table is not valid CSV in UTF-8 with two columns, gives a file two labels, names no picture of
            the source, or has a label that cannot be stored.
    """
    where = f"{source}/{LABELS}"
    known = set(pictures)
    by_encoding = {unicodedata.normalize("NFC", picture): picture for picture in sorted(known)}
    class_of: dict[str, str] = {}
    missing: dict[str, int] = {}
    problems: list[Problem] = []
    for line, file, label in _rows(where, table):
        name = _relative_name(file, f"{where}, line {line}")
        if name not in known:
            name = by_encoding.get(unicodedata.normalize("NFC", name), name)
        label = checked_class_name(label, f"{where}, line {line}")
        if name in missing or class_of.get(name) == label:
            problems.append(Problem(SOURCE, "repeated_row", name, f"line {line}"))
        elif name in class_of:
            raise UserError(
                f"{where}, line {line}: '{name}' has two labels, '{class_of[name]}' and '{label}'; "
                "delete one of the rows"
            )
        elif name in known:
            class_of[name] = label
        else:
            missing[name] = line
    if not class_of:
        example = f"'{next(iter(missing))}'" if missing else "no rows"
        raise UserError(
            f"{where} names no picture in {source}: expected rows such as {min(known)},LABEL, found {example}"
        )
    problems += [Problem(SOURCE, "without_file", name, f"line {line}") for name, line in missing.items()]
    problems += [Problem(SOURCE, "without_row", name) for name in sorted(known - class_of.keys())]
    return Layout(LABELS, class_of, None, problems)


def _rows(where: str, table: bytes) -> list[tuple[int, str, str]]:
    """Returns line number, file and label of each row of a table."""
    try:
        text = table.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = table.count(b"\n", 0, error.start) + 1
        raise UserError(f"{where}, line {line}: expected text in UTF-8, found other bytes; save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, str, str]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            is_header = not rows and tuple(cell.lower() for cell in cells) in _HEADERS
            if not any(cells) or (is_header and reader.line_num == 1):
                continue
            if len(cells) != 2 or not all(cells):
                raise UserError(
                    f"{where}, line {reader.line_num}: expected a file and a label, separated by a comma, found "
                    f"{row!r}; quote names that contain commas"
                )
            file, label = cells
            rows.append((reader.line_num, file, label))
    except csv.Error as error:
        raise UserError(f"{where}, line {reader.line_num}: expected CSV ({error}); correct this line") from error
    return rows


def _relative_name(file: str, where: str) -> str:
    path = file.replace("\\", "/")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts or not parts:
        raise UserError(f"{where}: expected a path relative to the folder of {LABELS}, found '{file}'")
    return "/".join(parts)


def checked_class_name(name: str, where: str) -> str:
    """Returns the name of a class as it is stored.

    TFDS would drop surrounding spaces. Systems encode accents in different ways, of which NFC is the usual one.

    Args:
        name: name of the class.
        where: folder or line that names it, for messages.

    Raises:
        UserError: the name is empty, is not valid UTF-8, or contains a line break or another control character.
    """
    stripped = unicodedata.normalize("NFC", name.strip())
    shown = name.encode(errors="backslashreplace").decode()
    if stripped != stripped.encode(errors="replace").decode():
        reason = "is not valid UTF-8"
    elif any(unicodedata.category(character) == "Cc" for character in stripped):
        reason, shown = "contains a line break or another control character", repr(shown)[1:-1]
    elif not stripped:
        reason = "is empty"
    else:
        return stripped
    where = where.encode(errors="backslashreplace").decode().replace("\n", "\\n")
    raise UserError(f"{where}: expected the name of a class, but '{shown}' {reason}; rename it")


def _top_folders(pictures: Sequence[str], prefix: str) -> dict[str, list[str]]:
    """Returns the pictures in each folder directly below a prefix; those in no folder stand under an empty name."""
    tops: dict[str, list[str]] = collections.defaultdict(list)
    for name in pictures:
        top, slash, _ = name[len(prefix) :].partition("/")
        tops[top if slash else ""].append(name)
    return dict(tops)


def split_of_folder(folders: Sequence[str]) -> tuple[str, int] | None:
    """Returns the split that the first folder with the name of one stands for, or None.

    Args:
        folders: names of the folders of a path.

    Returns:
        "train" or "validation", and 0 or the place of the name in the order of preference among held-out folders.
    """
    for folder in map(str.casefold, folders):
        if folder in _TRAIN_FOLDERS:
            return "train", 0
        if folder in _VALIDATION_FOLDERS:
            return "validation", _VALIDATION_FOLDERS.index(folder)
    return None


def _priority(folder: str) -> tuple[int, str]:
    return _VALIDATION_FOLDERS.index(folder.casefold()), folder


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(names[:_MAX_NAMED])
    return text + (f" and {len(names) - _MAX_NAMED:,} more" if len(names) > _MAX_NAMED else "")
