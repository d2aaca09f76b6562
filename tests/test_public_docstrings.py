"""Every public name is documented: summary, arguments, result, errors and an example.

Public are the names in ``__all__`` of a module; see CONTRIBUTING.md.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import pathlib
import re
import textwrap

import pytest
from page_blocks import CHECKOUT, blocks

import hamgan

PACKAGE = pathlib.Path(hamgan.__file__).parent
OF_KERAS = ("build", "compute_output_shape", "compute_output_spec", "from_config", "get_build_config", "get_config")
"""Methods that Keras calls and documents."""
ARGUMENTS_OF_KERAS = ("activity_regularizer", "autocast", "dtype", "name", "trainable")
"""Arguments of layers and models that Keras documents."""


def public_modules():
    """Names of the modules that define ``__all__``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if re.search(r"^__all__ = ", path.read_text(), re.MULTILINE):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def public_names():
    """Each public object once: by the name of its module with the fewest parts."""
    found = {}
    for module in sorted(public_modules(), key=lambda name: name.count(".")):
        for name in importlib.import_module(module).__all__:
            value = getattr(importlib.import_module(module), name)
            if not inspect.ismodule(value) and not name.startswith("__"):
                found.setdefault(id(value) if callable(value) else name, (module, name))
    return sorted(found.values())


def section(docstring, title):
    """The text of a section, or None."""
    found = re.search(rf"^{title}:[ ]*\n((?:[ ].*\n|\n)*)", docstring + "\n", re.MULTILINE)
    return found and textwrap.dedent(found[1])


def documented_arguments(docstring, title="Args"):
    return re.findall(r"^\*{0,2}(\w+): ", section(docstring, title) or "", re.MULTILINE)


def arguments_of(function):
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind is not parameter.VAR_KEYWORD and parameter.name not in ("self", "cls", *ARGUMENTS_OF_KERAS)
    ]


def raises(function):
    """Whether the code of a function raises an error itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    return any("NotImplementedError" not in ast.unparse(error) for error in raised)


def missing_of_function(function, *, inherited=(), example):
    """What the docstring of a function lacks, and those of the methods that it overrides lack too."""
    docstring = inspect.getdoc(function) or ""
    missing = [] if docstring else ["summary"]
    documented = [name for text in (docstring, *inherited) for name in documented_arguments(text)]
    missing += [f"argument {name}" for name in arguments_of(function) if name not in documented]
    returned = inspect.signature(function).return_annotation
    says = any(
        text.startswith(("Returns ", "Whether ", "Yields ")) or section(text, "(?:Returns|Yields)")
        for text in (docstring, *inherited)
    )
    if returned not in (None, "None", inspect.Signature.empty) and not says:
        missing.append("Returns")
    if raises(function) and not section(docstring, "Raises"):
        missing.append("Raises")
    if example and not section(docstring, "Example"):
        missing.append("Example")
    return missing


def documented_fields(kind):
    """Fields of a class with a docstring of their own, also those of its base classes."""
    found = set()
    for base in kind.__mro__[:-1]:
        if not base.__module__.startswith("hamgan"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0].body
        for statement, following in itertools.pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                found.add(statement.target.id)
    return found


def missing_of_class(kind):
    docstring = inspect.cleandoc(kind.__doc__ or "")
    missing = [] if docstring else ["summary"]
    documented = documented_arguments(docstring)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "_fields"):
        documented += [*documented_arguments(docstring, "Attributes"), *documented_fields(kind)]
        missing += [f"field {name}" for name in arguments_of(kind) if name not in documented]
    elif getattr(kind.__init__, "__module__", "").startswith("hamgan"):
        missing += [f"argument {name}" for name in arguments_of(kind.__init__) if name not in documented]
        if raises(kind.__init__) and not section(docstring, "Raises"):
            missing.append("Raises")
    if not (section(docstring, "Example") or issubclass(kind, Exception)):
        missing.append("Example")
    for name, member in vars(kind).items():
        if name.startswith("_") or name in OF_KERAS:
            continue
        function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
        if inspect.isfunction(function):
            inherited = [inspect.getdoc(vars(base)[name]) or "" for base in kind.__mro__[1:] if name in vars(base)]
            lacks = missing_of_function(function, inherited=inherited, example=False)
            missing += [f"{name}: {what}" for what in lacks]
        elif isinstance(member, property) and not member.__doc__:
            missing.append(f"{name}: summary")
    return missing


def is_documented_constant(module, name):
    """Whether a string follows the assignment of a constant, in the module that defines it."""
    body = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.ImportFrom) and any(alias.name == name for alias in statement.names):
            return is_documented_constant(statement.module, name)
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    return False


def missing(module, name):
    """What the documentation of a public name lacks."""
    value = getattr(importlib.import_module(module), name)
    if inspect.isclass(value):
        return missing_of_class(value)
    if inspect.isfunction(value):
        return missing_of_function(value, example=True)
    return [] if is_documented_constant(module, name) else ["docstring after the assignment"]


NAMES = public_names()


@pytest.mark.parametrize(("module", "name"), NAMES, ids=map(".".join, NAMES))
def test_public_names_are_documented(module, name):
    assert missing(module, name) == []


PAGES = [*(CHECKOUT / "docs").rglob("*.md"), CHECKOUT / "README.md", *(CHECKOUT / "examples").glob("*.py")]


def test_pages_and_examples_import_public_names():
    for page in PAGES:
        for code in [page.read_text()] if page.suffix == ".py" else blocks(page, "python"):
            for statement in ast.walk(ast.parse(code)):
                if isinstance(statement, ast.ImportFrom) and statement.module.startswith("hamgan"):
                    public = getattr(importlib.import_module(statement.module), "__all__", ())
                    assert {alias.name for alias in statement.names} <= {*public}, (page, statement.module)


def test_gaps_are_found():
    def undocumented(images: list, *, scale: float) -> list:
        """Scales images.

        Args:
            images: images.
        """
        if scale < 0:
            raise ValueError("negative")
        return images

    assert missing_of_function(undocumented, example=True) == ["argument scale", "Returns", "Raises", "Example"]

    class Undocumented:
        """A class."""

        def __init__(self, path: str) -> None:
            self.path = path

        def method(self, count: int) -> None:
            """Counts."""

    assert missing_of_class(Undocumented) == ["Example", "method: argument count"]
    Undocumented.__init__.__module__ = "hamgan"
    assert missing_of_class(Undocumented) == ["argument path", "Example", "method: argument count"]
