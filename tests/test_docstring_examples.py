"""Every example in a docstring runs."""

import doctest
import importlib
import pathlib
import pkgutil
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import hamgan

ROOT = pathlib.Path(__file__).parent.parent
EARLIER_RUN = ROOT / "tests" / "runs" / "run_e872773"


MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(hamgan.__path__, "hamgan.")
    # It ends its process.
    if not module.name.endswith("__main__")
)


def _examples(module):
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module) if test.examples]


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", ["hamgan", *MODULES])
def test_examples_in_docstrings(name, tmp_path, monkeypatch, request, digits_dir, classifier_path):
    module = importlib.import_module(name)
    examples = _examples(module)
    if not examples:
        return
    monkeypatch.chdir(tmp_path)
    # What the examples use: a run, data and a classifier, where the quickstart has them.
    shutil.copytree(EARLIER_RUN, tmp_path / "runs" / "digits")
    (tmp_path / "data").symlink_to(digits_dir)
    (tmp_path / "classifier").symlink_to(classifier_path)
    if any("runs/scenes" in part.source for example in examples for part in example.examples):
        (tmp_path / "runs" / "scenes").symlink_to(request.getfixturevalue("tiny_segmentation_run"))
    (tmp_path / "photographs").mkdir()
    for index in range(2):
        keras.utils.save_img(tmp_path / "photographs" / f"{index}.png", np.full((40, 50, 3), 90 * index))
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags)
    for example in examples:
        said = []
        runner.run(example, out=said.append, clear_globs=False)
        assert runner.failures == 0, "".join(said)


@pytest.mark.parametrize("name", [name for name in hamgan.__all__ if name not in ("__version__", "layers")])
def test_the_public_api_has_examples(name):
    documented = getattr(hamgan, name)
    assert any(example.name.endswith(f".{name}") for example in _examples(sys.modules[documented.__module__]))


def test_importing_hamgan_loads_no_tensorflow():
    code = "import sys, hamgan; dir(hamgan); hamgan.__version__; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_public_api_is_what_dir_lists():
    assert dir(hamgan) == sorted(hamgan.__all__)
    assert all(getattr(hamgan, name) is not None for name in hamgan.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        hamgan.laod  # noqa: B018
