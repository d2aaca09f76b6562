"""MkDocs hook: the API reference, with a page for ``hamgan`` and for each of its packages that has public names.

mkdocstrings fills the pages with the docstrings, which it reads from the sources. A name that several modules export is
documented once, in the first of them.
"""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from public_names import CHECKOUT, public_modules

NOT_DOCUMENTED = ("__version__", "layers")
"""Names of ``hamgan`` without a docstring of their own."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    pages: dict[str, list[str]] = {}
    seen = set(NOT_DOCUMENTED)
    for module, names in public_modules():
        new = sorted({*names} - seen, key=str.lower)
        seen.update(new)
        # Modules beside the packages belong to hamgan: hamgan.errors.
        package = ".".join(module.split(".")[:2])
        page = pages.setdefault(package if package in pages or _is_package(package) else "hamgan", [])
        page += _entries(module, new, level=2 if page else 1)
    for package, entries in pages.items():
        if not entries[0].startswith("# "):
            entries.insert(0, f"# {package}\n")
        files.append(File.generated(config, f"reference/{package}.md", content="\n".join(entries)))
    return files


def _is_package(name: str) -> bool:
    return (CHECKOUT / name.replace(".", "/")).is_dir()


def _entries(module: str, names: list[str], level: int) -> list[str]:
    """Returns the heading and the docstring of a module, and a directive for each name."""
    entries = [f"{'#' * level} {module}\n"]
    if level == 1:
        options = "      members: false\n      show_root_heading: false\n"
        entries.append(f"::: {module}\n    options:\n{options}")
    for name in names:
        entries.append(f"::: {module}.{name}\n    options:\n      heading_level: {level + 1}\n")
    return entries
