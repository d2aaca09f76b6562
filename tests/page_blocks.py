"""Code blocks of the documentation, and the commands in them."""

import pathlib
import re
import shlex

CHECKOUT = pathlib.Path(__file__).parents[1]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page, language, section=None):
    """Returns the code blocks of a page in one language, or those below one of its headings of the second level."""
    text = page.read_text()
    if section is not None:
        _, found, text = text.partition(f"\n## {section}\n")
        assert found, f"{page} has no section {section}"
        text = text.partition("\n## ")[0]
    return [code for found, code in FENCE.findall(text) if found == language]


def hamgan_commands(page, section=None, program="hamgan"):
    """Returns the arguments of the commands of a program in the shell blocks of a page or of a section."""
    lines = [line for code in blocks(page, "sh", section) for line in code.replace("\\\n", " ").splitlines()]
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[line.index(program) + 1 :] for line in words if program in line]
