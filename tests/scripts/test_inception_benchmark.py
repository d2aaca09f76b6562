"""The benchmark of Inception's features: its page, what it says without its packages, and our network."""

import argparse
import importlib.util
import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts" / "benchmarks"))

import benchmarking
import inception

from hamgan.config.presets import get_preset
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
        "sampling_flop_per_image": 5e9,
        "sampling": {"samples": row(20.0), "samples_and_features": row(8.0)},
        "machine": {"convolution_flops": {"median": 200e9}},
        "variants": {"hamgan": row(12.0), "torch_fidelity": row(10.0), "pytorch_fid": row(8.0)},
    }
    text = benchmarking.publish(results, str(tmp_path / "a.md"), inception.page, inception.draw)
    assert "| `hamgan` | 12.0 (11.5-12.5) | 0.60 | 1.00 |" in text
    assert "| torch-fidelity | 10.0 (9.5-10.5) | 0.50 | 1.20 |" in text
    assert "| pytorch-fid | 8.0 (7.5-8.5) | 0.40 | 1.50 |" in text
    assert "| samples of 128x128 | 20.0 (19.5-20.5) | 0.50 |" in text
    assert "| samples and their features | 8.0 (7.5-8.5) | 0.60 |" in text
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


@pytest.mark.slow
def test_samples_and_features_are_those_of_a_batch(tmp_path, monkeypatch):
    network = get_preset("digits")
    monkeypatch.setattr(inception, "get_preset", lambda name: network)
    (features,) = inception._call("samples_and_features", np.zeros((2, 1, 1, 3)), str(tmp_path))()
    assert features["pool_3"].shape == (2, 2048)
    (images,) = inception._call("samples", np.zeros((2, 1, 1, 3)), str(tmp_path))()
    assert images.shape == (2, 32, 32, 3)
