"""The public names of the package, read from its sources without importing it."""

import ast
import pathlib
from collections.abc import Iterator

CHECKOUT = pathlib.Path(__file__).parents[2]


def public_modules() -> Iterator[tuple[str, list[str]]]:
    """Yields the name of each module that defines ``__all__``, with its public names; packages before their modules."""
    paths = (CHECKOUT / "hamgan").rglob("*.py")
    for module, path in sorted((module_name(path), path) for path in paths):
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                yield module, ast.literal_eval(statement.value)


def module_name(path: pathlib.Path) -> str:
    """Returns the name of a module: ``hamgan/layers/__init__.py`` is ``hamgan.layers``."""
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
