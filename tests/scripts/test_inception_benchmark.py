"""The benchmark of Inception's features: its page, what it says without its packages, and our network."""

import argparse
import importlib.util
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import benchmarking
import inception

from hamgan.errors import UserError


def row(rate):
    return {"images_per_second": {"median": rate, "min": rate - 0.5, "max": rate + 0.5, "n": 5}}


def test_page_has_the_share_of_the_machine_and_our_rate_over_the_others(tmp_path):
    results = {
        "command": "python inception.py",
        "device": "CPU",
        "versions": {"python": "3.12"},
        "packages": {"torch": "2.14", "pytorch-fid": "0.3.0"},
        "config": {"batch": 32, "calls": 3, "repeats": 5},
        "flop_per_image": 10e9,
        "machine": {"convolution_flops": {"median": 200e9}},
        "variants": {"hamgan": row(12.0), "torch_fidelity": row(10.0), "pytorch_fid": row(8.0)},
    }
    text = benchmarking.publish(results, str(tmp_path / "a.md"), inception.page, inception.draw)
    assert "| `hamgan` | 12.0 (11.5-12.5) | 0.60 | 1.00 |" in text
    assert "| torch-fidelity | 10.0 (9.5-10.5) | 0.50 | 1.20 |" in text
    assert "| pytorch-fid | 8.0 (7.5-8.5) | 0.40 | 1.50 |" in text
    assert "torch 2.14, pytorch-fid 0.3.0" in text
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_missing_packages_are_one_line(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch_fidelity" else name)
    with pytest.raises(UserError, match=r"needs torch-fidelity, found none; pip install torch-fidelity"):
        inception.measure(argparse.Namespace(batch=1, calls=1, repeats=1))


@pytest.mark.slow
def test_our_network_is_as_large_as_inception():
    assert inception.flops() == pytest.approx(11.4e9, rel=0.01)
    assert inception.measure_variant("hamgan", 2, 1)["images_per_second"] > 0
