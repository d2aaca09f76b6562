"""The pages of tutorials have the text and the code of their sources.

Slow tests run those with Keras's fit, with fewer steps. ``scripts/tutorials.sh`` runs all, as they are.
"""

import os
import pathlib
import subprocess
import sys

import nbformat
import pytest
from page_blocks import CHECKOUT, blocks

from hamgan.errors import UserError

sys.path.insert(0, str(CHECKOUT / "scripts" / "site"))

from tutorial_pages import LARGEST_PICTURE, PAGES, SOURCES, main, read_tutorial, tutorial_names

LONGEST_CELL = 40


def cells(name, kind):
    notebook = read_tutorial(SOURCES / f"{name}.py", links="../")
    return [cell for cell in notebook.cells if cell.cell_type == kind]


@pytest.mark.parametrize("name", tutorial_names())
def test_pages_have_the_text_and_code_of_their_tutorials(name):
    page = PAGES / f"{name}.md"
    assert blocks(page, "python") == [f"{cell.source}\n" for cell in cells(name, "code")], (
        f"run scripts/tutorials.sh {name}"
    )
    position = 0
    for cell in cells(name, "markdown"):
        position = page.read_text().find(cell.source, position)
        assert position >= 0, f"{cell.source}\nis not on the page; run scripts/tutorials.sh {name}"


@pytest.mark.parametrize("name", tutorial_names())
def test_pages_have_small_pictures_with_descriptions(name):
    text = (PAGES / f"{name}.md").read_text()
    drawing = [cell for cell in cells(name, "code") if "picture" in cell.metadata]
    described = {cell.metadata["picture"]: cell.metadata["alt"] for cell in drawing}
    assert described
    for picture, alt in described.items():
        assert f"![{alt}]({name}_files/{picture}.png)" in text
        assert (PAGES / f"{name}_files" / f"{picture}.png").stat().st_size < LARGEST_PICTURE
    assert {path.stem for path in (PAGES / f"{name}_files").iterdir()} == set(described)


@pytest.mark.parametrize("name", tutorial_names())
def test_pages_show_nothing_of_the_machine(name):
    for output in blocks(PAGES / f"{name}.md", "text"):
        assert "/tmp" not in output
        assert str(pathlib.Path.home()) not in output
        assert "Warning" not in output


@pytest.mark.parametrize("name", tutorial_names())
def test_tutorials_have_short_cells_and_say_how_to_run_them(name):
    assert all(len(cell.source.splitlines()) < LONGEST_CELL for cell in cells(name, "code"))
    assert f"python examples/{name}.py" in cells(name, "markdown")[0].source
    assert f"scripts/tutorials.sh {name}" in cells(name, "markdown")[0].source
    assert "## Where to go next" in cells(name, "markdown")[-1].source


@pytest.mark.parametrize("name", tutorial_names())
def test_tutorials_are_listed(name):
    assert f"]({name}.md)" in (PAGES / "index.md").read_text()
    assert f"`{name}.py`" in (SOURCES / "README.md").read_text()


def printed_by(name, folder, shorter=None):
    """Runs a tutorial as a program, with parts of its text replaced by shorter work, and returns what it prints."""
    source = (SOURCES / f"{name}.py").read_text()
    for part, replacement in (shorter or {}).items():
        assert source.count(part) == 1, part
        source = source.replace(part, replacement)
    (folder / f"{name}.py").write_text(source)
    programs = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [sys.executable, f"{name}.py"],
        cwd=folder,
        env=os.environ | {"MPLBACKEND": "agg", "PATH": programs},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_a_hamburger_in_a_classifier(tmp_path):
    printed = printed_by("hamburger_classifier", tmp_path)
    assert "difference from the input: 0.0\n" in printed
    assert float(printed.split("Test accuracy ")[1].split("%")[0]) > 80
    assert (tmp_path / "classifier.keras").exists()


@pytest.mark.slow
def test_a_gan_by_keras_fit(tmp_path):
    fewer_steps = {"batch_size=32, epochs=10": "batch_size=32, epochs=1", "in range(0, 10, 3)": "in range(1)"}
    printed = printed_by("keras_fit_gan", tmp_path, fewer_steps)
    assert "discriminator: " in printed
    assert "generator: " in printed
    assert "nan" not in printed
    assert (tmp_path / "generator.keras").exists()


@pytest.mark.slow
def test_a_segmentation_network_by_keras_fit(tmp_path):
    fewer_steps = {"epochs=4, steps_per_epoch=60": "epochs=1, steps_per_epoch=3", "in range(4)": "in range(1)"}
    printed = printed_by("keras_fit_hamnet", tmp_path, fewer_steps)
    assert "val_mean_iou: " in printed
    assert "Same predictions: True" in printed
    assert "nan" not in printed
    assert (tmp_path / "hamnet.keras").exists()


def test_an_unknown_tutorial_is_refused_before_any_is_executed():
    with pytest.raises(UserError, match="unknown tutorial 'export'; expected one of choosing_context, "):
        main([tutorial_names()[0], "export"])


SMALL = """\
# %% [markdown]
# # Title
#
# See [export](../docs/export.md).

# %% picture="line" alt="A line"
import os
import sys
import matplotlib.pyplot as plt

print("printed")
print("a warning", file=sys.stderr)
open("left.txt", "w").close()
plt.plot([0, 1])
plt.show()

# %%
1 + 1
"""


def write(source, folder):
    """Writes the page and the notebook of a tutorial, in a process of its own: nbclient handles signals."""
    code = (
        f"import pathlib, sys; sys.path.insert(0, {str(CHECKOUT / 'scripts' / 'site')!r}); import tutorial_pages; "
        "paths = map(pathlib.Path, sys.argv[1:]); tutorial_pages.write_tutorial(*paths)"
    )
    command = [sys.executable, "-c", code, str(source), str(folder / "pages"), str(folder / "notebooks")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_tutorial_becomes_a_page_and_a_notebook(tmp_path):
    source = tmp_path / "small.py"
    source.write_text(SMALL)
    assert write(source, tmp_path).returncode == 0
    page = (tmp_path / "pages" / "small.md").read_text()
    assert page.startswith("# Title\n\nSee [export](../export.md).\n\n```python\nimport os\n")
    assert "```\n\n```text\nprinted\n```\n\n![A line](small_files/line.png)\n\n```python\n1 + 1\n```" in page
    assert page.endswith("\n\n```text\n2\n```\n")
    assert page.count("a warning") == 1  # in the code
    assert (tmp_path / "pages" / "small_files" / "line.png").stat().st_size < LARGEST_PICTURE
    notebook = nbformat.read(tmp_path / "notebooks" / "small.ipynb", as_version=4)
    assert notebook.cells[0].source == "# Title\n\nSee [export](../../docs/export.md)."
    assert not list(tmp_path.rglob("left.txt"))


@pytest.mark.slow
def test_a_failing_tutorial_writes_nothing(tmp_path):
    source = tmp_path / "failing.py"
    source.write_text("# %%\n1 / 0\n")
    assert "ZeroDivisionError" in write(source, tmp_path).stderr
    assert not (tmp_path / "pages").exists()
