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
    """Rewrites the docstring of each object when it is read."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrites one docstring."""
        if obj.docstring is None:
            return

        def link(role: re.Match[str]) -> str:
            target = role[1]
            # Without dots: a name of the same class or module.
            owner = obj if obj.is_class or obj.is_module else obj.parent
            path = target if "." in target or owner is None else f"{owner.path}.{target}"
            return f'<autoref optional identifier="{path}"><code>{target}</code></autoref>'

        obj.docstring.value = _EXAMPLE.sub("Examples:", _ROLE.sub(link, obj.docstring.value))
