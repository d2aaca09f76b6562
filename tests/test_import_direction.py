"""Data flows one way: no package imports one above it, and nothing imports TensorFlow before it is needed."""

import ast
import pathlib
import subprocess
import sys

import pytest

import hamgan

PACKAGE = pathlib.Path(hamgan.__file__).parent
FLOW = (
    "config",
    "data",
    "layers",
    "networks",
    "distribution",
    "runs",
    "sampling",
    "training",
    "evaluation",
    "explorer",
    "published",
    "segmentation",
    "tpu_check",
    "cli",
)
"""Every package of hamgan; each may import itself and those before it, and the modules beside the packages."""


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _packages_imported(path):
    names = [name.split(".") for name in _imports(path)]
    return {name[1] for name in names if name[0] == "hamgan" and name[1] in FLOW}


def test_the_flow_names_every_package():
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert packages == set(FLOW)


@pytest.mark.parametrize("package", FLOW)
def test_imports_point_along_the_flow(package):
    allowed = set(FLOW[: FLOW.index(package) + 1])
    for path in sorted((PACKAGE / package).rglob("*.py")):
        wrong = _packages_imported(path) - allowed
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


@pytest.mark.parametrize("package", [package for package in FLOW if package != "cli"])
def test_only_the_command_line_reads_flags(package):
    for path in sorted((PACKAGE / package).rglob("*.py")):
        wrong = [name for name in _imports(path) if name.startswith(("absl.flags", "argparse"))]
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {wrong}"


@pytest.mark.parametrize("package", ["layers", "networks"])
def test_layers_and_networks_are_built_from_arguments(package):
    # networks/build.py is where a config becomes arguments.
    for path in sorted((PACKAGE / package).rglob("*.py")):
        assert path.name == "build.py" or not _packages_imported(path) & {"config", "data"}


def test_what_stands_beside_the_packages_imports_none_of_them():
    for path in sorted(PACKAGE.glob("*.py")):
        if path.name != "__init__.py":
            assert not _packages_imported(path), path.name


def test_config_and_help_do_not_load_tensorflow():
    code = "import sys, hamgan.cli.main as m; m.build_parser().format_help(); sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
