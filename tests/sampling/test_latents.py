import numpy as np
import pytest

from hamgan.errors import UserError
from hamgan.sampling.latents import Latents, read_latents, save_latents


@pytest.fixture
def latents():
    generator = np.random.default_rng(0)
    return Latents(generator.normal(size=(3, 4)).astype(np.float32), np.eye(5, dtype=np.float32)[[0, 2, 4]])


def test_reads_what_was_saved(latents, tmp_path):
    path = str(tmp_path / "latents.npz")
    save_latents(path, latents)
    for read, saved in zip(read_latents(path, z_dim=4, num_classes=5), latents, strict=True):
        np.testing.assert_array_equal(read, saved)


def test_refuses_latents_of_another_generator(latents, tmp_path):
    path = str(tmp_path / "latents.npz")
    save_latents(path, latents)
    with pytest.raises(UserError, match=r"expected z of shape \(n, 6\).*found \(3, 4\) and \(3, 5\)"):
        read_latents(path, z_dim=6, num_classes=5)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04 truncated"])
def test_refuses_other_files(content, tmp_path):
    path = tmp_path / "latents.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"no complete \.npz file"):
        read_latents(str(path), z_dim=4, num_classes=5)


def test_refuses_missing_and_damaged_files(latents, tmp_path):
    path = str(tmp_path / "latents.npz")
    with pytest.raises(UserError, match="cannot read"):
        read_latents(path, z_dim=4, num_classes=5)
    save_latents(path, latents._replace(class_weights=latents.class_weights * 2))
    with pytest.raises(UserError, match="rows sum to 1"):
        read_latents(path, z_dim=4, num_classes=5)
    np.savez(path, z=latents.z)
    with pytest.raises(UserError, match="file with z and class_weights"):
        read_latents(path, z_dim=4, num_classes=5)
