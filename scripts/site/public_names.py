"""The public names of the package, read from its sources without importing it."""

import ast
import pathlib
from collections.abc import Iterator

CHECKOUT = pathlib.Path(__file__).parents[2]


def public_modules() -> Iterator[tuple[str, dict[str, str]]]:
    """Yields the name of each module that defines ``__all__``, and its public names with the paths of their objects.

    A module imports most of its names from where they are defined: ``nmf`` of ``hamgan.layers`` is
    ``hamgan.layers.nmf.nmf``. Packages precede their modules.
    """
    paths = (CHECKOUT / "hamgan").rglob("*.py")
    for module, path in sorted((_module_name(path), path) for path in paths):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {
            alias.name: f"{statement.module}.{alias.name}"
            for statement in ast.walk(tree)
            if isinstance(statement, ast.ImportFrom)
            for alias in statement.names
        }
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
                names = ast.literal_eval(statement.value)
                yield module, {name: imported.get(name, f"{module}.{name}") for name in names}


def _module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(CHECKOUT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
