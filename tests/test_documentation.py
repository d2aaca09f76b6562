"""README and pages: links, anchors, files, commands, settings, examples and the width of tables."""

import dataclasses
import pathlib
import re
import shutil

import pytest
from page_blocks import CHECKOUT, FENCE, blocks, hamgan_commands

from hamgan.cli import hamnet
from hamgan.cli.main import build_parser
from hamgan.config import override
from hamgan.config.presets import PRESETS
from hamgan.config.segmentation_presets import SEGMENTATION_PRESETS

PAGES = sorted([CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *(CHECKOUT / "docs").rglob("*.md")])
SOURCES = ("data_prep", "hamgan", "scripts", "tests")
MAX_CELL = 80
EARLIER_NAMES = ("model.generator.hamburger", "model.discriminator.hamburger", "model.generator.recomputed_blocks")
"""Settings that pages mention as names of earlier versions."""
NOT_SETTINGS = ("train.lock", "model.export")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"\b(?:data_prep|docs|hamgan|scripts|tests)/[\w/.-]*\w\.(?:json|md|png|py|sh)\b")
CODE_FILE = re.compile(r"`([\w/]+\.(?:py|sh))`")
SETTING = re.compile(r"`((?:data|evaluation|model|train)\.[\w.]+)")


def named(pages):
    return pytest.mark.parametrize("page", pages, ids=[str(page.relative_to(CHECKOUT)) for page in pages])


def anchors(page):
    """Anchors of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def has_setting(path):
    configs = (PRESETS["digits"](), SEGMENTATION_PRESETS["voc_trainaug"](), SEGMENTATION_PRESETS["segnext_tiny"]())
    return any(has_field(config, path) for config in configs)


def has_field(value, path):
    for name in path.split("."):
        if isinstance(value, tuple) and name.isdigit():
            value = value[0]  # elements beyond the defaults have the same fields
        elif dataclasses.is_dataclass(value) and hasattr(value, name):
            value = getattr(value, name)
        else:
            return False
    return True


@named(PAGES)
def test_links_resolve(page):
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(CHECKOUT), link
        if anchor:
            assert anchor in anchors(target), link


@named(PAGES)
def test_files_exist(page):
    text = page.read_text()
    for path in PATH.findall(text):
        assert (CHECKOUT / path).exists(), path
    for name in CODE_FILE.findall(text):
        found = [path for folder in SOURCES for path in (CHECKOUT / folder).rglob(pathlib.Path(name).name)]
        assert any(str(path).endswith(f"/{name}") for path in found), name


@named([page for page in PAGES if hamgan_commands(page)])
def test_commands_and_their_overrides_are_valid(page):
    for words in hamgan_commands(page):
        arguments = build_parser().parse_args(words)
        override(PRESETS[getattr(arguments, "preset", None) or "digits"](), getattr(arguments, "override", None) or [])


@named([page for page in PAGES if hamgan_commands(page, program="hamnet")])
def test_commands_of_hamnet_are_valid(page):
    for words in hamgan_commands(page, program="hamnet"):
        arguments = hamnet.build_parser().parse_args(words)
        preset = getattr(arguments, "preset", None)
        if preset is not None:
            override(SEGMENTATION_PRESETS[preset](), arguments.override)


@named(PAGES)
def test_settings_exist(page):
    for path in SETTING.findall(page.read_text()):
        assert path.startswith((*EARLIER_NAMES, *NOT_SETTINGS)) or has_setting(path), path


@named([page for page in PAGES if blocks(page, "python")])
def test_python_examples_compile(page):
    for code in blocks(page, "python"):
        compile(code, str(page), "exec")


@named([page for page in PAGES if page.is_relative_to(CHECKOUT / "docs")])
def test_pages_are_in_the_navigation_of_the_site(page):
    navigation = (CHECKOUT / "mkdocs.yml").read_text().partition("\nnav:\n")[2].split()
    assert str(page.relative_to(CHECKOUT / "docs")) in navigation


def test_sampling_example_runs(tmp_path, monkeypatch):
    shutil.copytree(CHECKOUT / "tests" / "runs" / "run_e872773", tmp_path / "runs" / "digits")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(blocks(CHECKOUT / "README.md", "python")[0], names)
    assert names["images"].shape == (16, 32, 32, 3)


def test_layer_and_fixed_bases_examples_run():
    names = {}
    exec(blocks(CHECKOUT / "README.md", "python")[1], names)
    exec(blocks(CHECKOUT / "docs" / "bases_and_export.md", "python")[0], names)
    assert names["fixed"].output_shape == names["model"].output_shape == (None, 10)


@pytest.mark.slow
def test_segmentation_examples_run():
    names: dict = {}
    for code in blocks(CHECKOUT / "docs" / "segmentation.md", "python"):
        exec(code, names)
    assert names["logits"].shape == (2, 65, 97, 3)
    assert names["masks"].shape == names["better"].shape == (2, 60, 90)
    assert names["large"].shape == (60, 90)
    assert names["evaluation"].mean_iou == 1
    assert sorted(names["of_steps"]) == [1, 3, 6]


def test_readme_tables_are_narrow():
    rows = [line for line in (CHECKOUT / "README.md").read_text().splitlines() if line.startswith("|")]
    assert rows
    assert all(len(cell.strip()) <= MAX_CELL for row in rows for cell in row.strip("|").split("|"))
