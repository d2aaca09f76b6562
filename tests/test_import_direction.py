"""Data flows one way: layers, models and metrics know no flags, presets, configs or trainer."""

import ast
import pathlib
import subprocess
import sys

import pytest

import hamgan

PACKAGE = pathlib.Path(hamgan.__file__).parent
FORBIDDEN = {
    "layers": (
        "hamgan.config",
        "hamgan.presets",
        "hamgan.models",
        "hamgan.training",
        "hamgan.evaluation",
        "hamgan.cli",
    ),
    "models": ("hamgan.config", "hamgan.presets", "hamgan.training", "hamgan.evaluation", "hamgan.cli"),
    "data": ("hamgan.presets", "hamgan.models", "hamgan.training", "hamgan.evaluation", "hamgan.cli"),
    "training": ("hamgan.presets", "hamgan.evaluation", "hamgan.cli"),
    "evaluation": ("hamgan.presets", "hamgan.cli"),
}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_imports_point_along_the_flow(folder):
    files = sorted((PACKAGE / folder).rglob("*.py"))
    assert files
    for path in files:
        wrong = [name for name in _imports(path) if name.startswith((*FORBIDDEN[folder], "absl.flags", "argparse"))]
        assert not wrong, f"{path.name} imports {wrong}"


def test_config_and_help_do_not_load_tensorflow():
    code = "import sys, hamgan.cli.main as m; m.build_parser().format_help(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
