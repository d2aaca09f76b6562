"""Executes the tutorials of ``examples/`` and writes a page and a notebook of each; see scripts/tutorials.sh.

A tutorial is a script in jupytext's percent format. A cell that draws a picture names it, and says what it shows:
``# %% picture="samples" alt="Generated digits, one class per row"``. Links in the text are relative to ``examples/``.
"""

import io
import os
import pathlib
import re
import shutil
import tempfile

import jupytext
import nbclient
import nbconvert
import nbformat
from PIL import Image

from hamgan.errors import UserError
from hamgan.program import run_program

CHECKOUT = pathlib.Path(__file__).parents[2]
SOURCES = CHECKOUT / "examples"
PAGES = CHECKOUT / "docs" / "tutorials"
NOTEBOOKS = CHECKOUT / "build" / "tutorials"
ENVIRONMENT = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Operations are too small to gain from several threads.
    "TF_NUM_INTRAOP_THREADS": "1",
}
TIMEOUT = 900
"""Most seconds for a cell."""
COLORS = (64, 32, 16)
LARGEST_PICTURE = 60_000
"""Bytes. A picture gets the first number of colors with which its file is smaller."""
_LINK = "](../docs/"
_QUIET = 'import tensorflow as tf; tf.get_logger().setLevel("ERROR")'
"""In notebooks, TensorFlow logs to stdout."""
_BLOCK = re.compile(r"(^```\w*\n.*?^```$)", re.MULTILINE | re.DOTALL)
_TEMPLATE = """{%- extends 'markdown/index.md.j2' -%}
{%- block stream %}

```text
{{ output.text.rstrip() | strip_ansi }}
```
{% endblock stream %}
{%- block data_text scoped %}

```text
{{ output.data['text/plain'].rstrip() }}
```
{% endblock data_text %}
{%- block data_png %}

![{{ cell.metadata.alt }}]({{ output.metadata.filenames['image/png'] | path2url }})
{% endblock data_png %}"""


def tutorial_names() -> list[str]:
    """Returns the names of all tutorials."""
    return sorted(path.stem for path in SOURCES.glob("*.py"))


def read_tutorial(path: pathlib.Path, links: str) -> nbformat.NotebookNode:
    """Returns a tutorial as a notebook, not executed.

    Args:
        path: its script.
        links: relative path of ``docs/`` for the links of the text, with a slash at its end.
    """
    notebook = jupytext.read(path, fmt="py:percent")
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cell.source.replace(_LINK, f"]({links}")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata.pop("jupytext", None)
    return notebook


def execute(notebook: nbformat.NotebookNode) -> None:
    """Executes a notebook in a temporary folder. Its outputs have neither logs nor warnings.

    Args:
        notebook: notebook from :func:`read_tutorial`, which receives the outputs.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell fails.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        client = nbclient.NotebookClient(
            notebook, timeout=TIMEOUT, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        notebook.cells.insert(0, nbformat.v4.new_code_cell(_QUIET))
        client.execute(env=os.environ | ENVIRONMENT)
        del notebook.cells[0]
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # Times.
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
            for picture in (each for each in cell.outputs if "image/png" in each.get("data", {})):
                picture.data = {"image/png": picture.data["image/png"]}
                picture.metadata = {"filename": f"{cell.metadata['picture']}.png"}
    # Logs may have been between two lines.
    nbconvert.preprocessors.CoalesceStreamsPreprocessor().preprocess(notebook, {})


def markdown(notebook: nbformat.NotebookNode, files_folder: str) -> tuple[str, dict[str, bytes]]:
    """Returns the page of an executed notebook, and its pictures by their paths.

    Args:
        notebook: executed notebook.
        files_folder: folder of the pictures, relative to the page.
    """
    exporter = nbconvert.MarkdownExporter(raw_template=_TEMPLATE)
    text, resources = exporter.from_notebook_node(notebook, resources={"output_files_dir": files_folder})
    parts = _BLOCK.split(text.strip())
    # Code stays as it is; elsewhere, there is no more than one empty line.
    parts[::2] = [re.sub(r"\n(?:[ \t]*\n){2,}", "\n\n", part) for part in parts[::2]]
    return "".join(parts).strip() + "\n", {path: _smaller(data) for path, data in resources["outputs"].items()}


def _smaller(picture: bytes) -> bytes:
    """Returns a small PNG file of a picture, without metadata."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colors in COLORS:
        buffer = io.BytesIO()
        image.quantize(colors).save(buffer, "PNG", optimize=True)
        if buffer.tell() < LARGEST_PICTURE:
            break
    return buffer.getvalue()


def write_tutorial(path: pathlib.Path, pages: pathlib.Path = PAGES, notebooks: pathlib.Path = NOTEBOOKS) -> None:
    """Executes a tutorial and writes its page, pictures and notebook.

    Args:
        path: its script.
        pages: folder of the page, whose pictures are in a folder beside it.
        notebooks: folder of the notebook.
    """
    notebook = read_tutorial(path, links="../")
    execute(notebook)
    text, pictures = markdown(notebook, f"{path.stem}_files")
    shutil.rmtree(pages / f"{path.stem}_files", ignore_errors=True)
    for name, data in {f"{path.stem}.md": text.encode(), **pictures}.items():
        (pages / name).parent.mkdir(parents=True, exist_ok=True)
        (pages / name).write_bytes(data)
    notebooks.mkdir(parents=True, exist_ok=True)
    for cell, linked in zip(notebook.cells, read_tutorial(path, links="../../docs/").cells, strict=True):
        cell.source = linked.source
    nbformat.write(notebook, notebooks / f"{path.stem}.ipynb")


def main(names: list[str]) -> None:
    """Writes the tutorials with these names, or all.

    Raises:
        UserError: if there is no tutorial of a name.
    """
    for name in names:
        if name not in tutorial_names():
            raise UserError(f"unknown tutorial '{name}'; expected one of {', '.join(tutorial_names())}")
    for name in names or tutorial_names():
        write_tutorial(SOURCES / f"{name}.py")
        print(f"docs/tutorials/{name}.md, build/tutorials/{name}.ipynb")


if __name__ == "__main__":
    run_program("tutorials", main)
