"""The benchmark of segmentation: its page, and what it says without PyTorch."""

import argparse
import importlib.util
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import benchmarking
import segmentation

from hamgan.errors import UserError


def row(seconds):
    return {"median": seconds, "min": seconds - 0.5, "max": seconds + 0.5, "n": 5}


def test_page_has_our_time_over_that_of_each_network(tmp_path):
    times = {"hamgan": 2.0, "torch": 4.0, "torch_channels_last": 1.6}
    results = {
        "command": "python segmentation.py",
        "device": "CPU",
        "versions": {"python": "3.12"},
        "torch": "2.14",
        "config": {"size": 513, "calls": 3, "repeats": 5},
        "variants": {name: {"seconds": row(time), "cpu_seconds": row(2 * time)} for name, time in times.items()},
    }
    text = benchmarking.publish(results, str(tmp_path / "a.md"), segmentation.page, segmentation.draw)
    assert "| `hamgan.segmentation.HamNet` | 2.00 (1.50-2.50) | 4.00 | 1.00 |" in text
    assert "| PyTorch, default memory format | 4.00 (3.50-4.50) | 8.00 | 0.50 |" in text
    assert "| PyTorch, channels last | 1.60 (1.10-2.10) | 3.20 | 1.25 |" in text
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_missing_torch_is_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"needs the package torch, found none; pip install 'hamgan\[torch\]'"):
        segmentation.measure(argparse.Namespace(size=33, calls=1, repeats=1))
