"""Griffe extension: this project's docstrings as the Markdown that mkdocstrings expects.

Roles such as ``:func:`hamgan.load``` become links where the site documents their object, and sections ``Example:``
become ``Examples:``, which shows them as code.
"""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:attr|class|data|func|meth|mod):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"^Example:$", re.MULTILINE)


class DocstringMarkup(griffe.Extension):
    """Rewrites the docstrings of a package when it has been read."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Rewrites all docstrings."""
        _rewrite(pkg)


def _rewrite(obj: griffe.Object) -> None:
    if obj.docstring is not None:

        def link(role: re.Match[str]) -> str:
            name = role[1]
            # Without dots: a name of the same class or module.
            owner = obj if obj.is_class or obj.is_module else obj.parent
            path = name if "." in name or owner is None else f"{owner.path}.{name}"
            return f'<autoref optional identifier="{path}"><code>{name}</code></autoref>'

        obj.docstring.value = _EXAMPLE.sub("Examples:", _ROLE.sub(link, obj.docstring.value))
    for member in obj.members.values():
        if not member.is_alias:
            _rewrite(member)
