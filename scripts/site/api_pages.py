"""MkDocs hook: the API reference, with a page for ``hamgan`` and for each of its packages that has public names.

mkdocstrings fills the pages with the docstrings, which it reads from the sources. A name that several modules export is
documented once, in the first of them.
"""

from collections.abc import Mapping

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from public_names import CHECKOUT, public_modules

NOT_DOCUMENTED = ("hamgan.__version__", "hamgan.layers")
"""Names without a docstring of their own."""
MEMBERS = {"hamgan.config": "      members: false\n", "hamgan.layers": "      members: [call]\n"}
"""Options of modules whose other members are explained elsewhere, such as the methods of all Keras layers."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages."""
    pages: dict[str, list[str]] = {}
    seen = set(NOT_DOCUMENTED)
    for module, names in public_modules():
        new = {name: path for name, path in names.items() if path not in seen}
        seen.update(new.values())
        package = ".".join(module.split(".")[:2])
        # Modules beside the packages, such as hamgan.errors, are on the page of hamgan.
        page = pages.setdefault(package if (CHECKOUT / package.replace(".", "/")).is_dir() else "hamgan", [])
        if not page and module != package:
            page.append(f"# {package}\n")
        if new:
            page += _entries(module, new, level=2 if page else 1)
    for package, entries in pages.items():
        files.append(File.generated(config, f"reference/{package}.md", content="\n".join(entries)))
    return files


def _entries(module: str, names: Mapping[str, str], level: int) -> list[str]:
    """Returns the heading and the docstring of a module, and a directive for each name."""
    entries = [
        f"{'#' * level} {module}\n",
        f"::: {module}\n    options:\n      members: false\n      show_root_heading: false\n"
        "      show_root_toc_entry: false\n",
    ]
    if module == "hamgan.config":
        entries.append("[Configuration](configuration.md) explains the fields.\n")
    members = MEMBERS.get(module, "")
    for name in sorted(names, key=str.lower):
        entries.append(f"::: {names[name]}\n    options:\n      heading_level: {level + 1}\n{members}")
    return entries
