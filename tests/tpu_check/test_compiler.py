import importlib.metadata
import importlib.util
import sys

import pytest

from hamgan.config import override
from hamgan.errors import FailedError, UserError
from hamgan.tpu_check.chips import parse_topology
from hamgan.tpu_check.compiler import cache_folder, check_installed, compile_for_tpu
from hamgan.tpu_check.lowering import lower_train_step

V5E = parse_topology("v5e:1x1")

needs_compiler = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="the TPU compiler is available for Linux on x86-64 and Python 3.11 or newer only",
)


def _matmul(size, count=1):
    """A program that multiplies a matrix by another one several times."""
    matrix = f"tensor<{size}x{size}xf32>"
    products = "\n".join(
        f"%m{index + 1} = stablehlo.dot_general %m{index}, %b, contracting_dims = [1] x [0] "
        f": ({matrix}, {matrix}) -> {matrix}"
        for index in range(count)
    )
    return f"""
module @multiply {{
  func.func @main(%m0: {matrix}, %b: {matrix}) -> {matrix} {{
    {products}
    return %m{count} : {matrix}
  }}
}}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@needs_compiler
def test_compiler_statistics_are_right_and_cached(monkeypatch):
    compiled, was_cached = compile_for_tpu(_matmul(256, count=3), V5E, "test")
    assert not was_cached
    assert compiled.error is None
    assert compiled.flops == pytest.approx(3 * 2 * 256**3, rel=0.01)
    matrix = 256 * 256 * 4
    assert compiled.argument_bytes == 2 * matrix
    assert compiled.output_bytes == matrix
    # The products in between stay in VMEM.
    assert compiled.hbm_bytes == 3 * matrix

    monkeypatch.setattr(sys, "executable", "false")  # The compiler's process fails from here on.
    assert compile_for_tpu(_matmul(256, count=3), V5E, "test") == (compiled, True)
    with pytest.raises(FailedError, match="the TPU compiler exited with code 1"):
        compile_for_tpu(_matmul(128), V5E, "test")


@needs_compiler
def test_compile_error_is_returned_and_not_cached():
    compiled, _ = compile_for_tpu(_matmul(256).replace("dot_general", "no_such_operation"), V5E, "test")
    assert "no_such_operation" in compiled.error
    assert not compiled.is_too_large


@needs_compiler
def test_program_larger_than_memory_is_reported():
    compiled, _ = compile_for_tpu(_matmul(65536), V5E, "test")  # 48 GiB
    assert compiled.is_too_large


@pytest.mark.slow
@needs_compiler
def test_train_step_compiles_for_a_tpu(tiny):
    config = override(tiny, ["train.precision=mixed_bfloat16"])
    program = lower_train_step(config, 2)
    assert lower_train_step(config, 2) == program
    compiled, _ = compile_for_tpu(program.stablehlo, V5E, "test")
    assert compiled.error is None, compiled.error
    assert compiled.flops > 0
    # The state is updated in place.
    assert compiled.aliased_bytes >= 0.9 * program.state_bytes


def test_compiler_crash_is_reported(monkeypatch):
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(FailedError, match="the TPU compiler exited with code 1: no output"):
        compile_for_tpu(_matmul(8), V5E, "test")


def test_damaged_or_unwritable_cache_is_ignored(tmp_path, monkeypatch, caplog):
    interpreter = tmp_path / "interpreter"  # Called as: interpreter -m MODULE SOURCE TOPOLOGY RESULT PROGRAM
    interpreter.write_text("""#!/bin/sh\necho '{"error": "RESOURCE_EXHAUSTED"}' > "$5"\n""")
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    compile_for_tpu("program", V5E, "test")
    (cached,) = (tmp_path / "hamgan" / "tpu_check").iterdir()
    for content in (b"", b"{", b"\xff", b"[1]", b'{"no": 1}'):
        cached.write_bytes(content)
        found, was_cached = compile_for_tpu("program", V5E, "test")
        assert (found.is_too_large, was_cached) == (True, False)
        assert compile_for_tpu("program", V5E, "test") == (found, True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found, was_cached = compile_for_tpu("program", V5E, "test")
    assert (found.is_too_large, was_cached) == (True, False)
    assert "Cannot cache the compiler's result" in caplog.text


def test_missing_compiler_is_one_line(monkeypatch):
    def version(package):
        if package == "libtpu":
            raise importlib.metadata.PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(UserError, match=r"tpu-check needs libtpu: pip install 'hamgan\[tpu-check\]'"):
        check_installed()
    assert cache_folder().endswith("tpu_check")
