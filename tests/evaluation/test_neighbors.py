import numpy as np
import pytest

from hamgan.evaluation import neighbors
from hamgan.evaluation.neighbors import nearest_neighbors, precision_recall_density_coverage


def brute_force(real, fake, precision_neighbors=3, density_neighbors=5):
    """Computes the scores by their definitions, point by point, from float64 differences."""
    real, fake = np.float64(real), np.float64(fake)

    def distance(x, y):
        return np.sum((x - y) ** 2)

    def radii(points, k):
        return [
            sorted(distance(point, other) for j, other in enumerate(points) if j != i)[k - 1]
            for i, point in enumerate(points)
        ]

    between = [[distance(x, y) for y in fake] for x in real]
    rows, columns = range(len(real)), range(len(fake))
    real_radii, fake_radii = radii(real, precision_neighbors), radii(fake, precision_neighbors)
    density_radii = radii(real, density_neighbors)
    balls = sum(
        max(
            sum(between[i][j] < density_radii[i] for i in rows),
            min(sum(between[i][j] <= density_radii[i] for i in rows), density_neighbors),
        )
        for j in columns
    )
    return {
        "precision": sum(any(between[i][j] <= real_radii[i] for i in rows) for j in columns) / len(fake),
        "recall": sum(any(between[i][j] <= fake_radii[j] for j in columns) for i in rows) / len(real),
        "density": balls / (density_neighbors * len(fake)),
        "coverage": sum(any(between[i][j] <= density_radii[i] for j in columns) for i in rows) / len(real),
    }


def shifted(rng):
    return rng.normal(size=(90, 8)), rng.normal(size=(70, 8)) * 0.7 + 0.4


def float32_far_from_the_origin(rng):
    real, fake = shifted(rng)
    return (real + 300).astype(np.float32), (fake + 300).astype(np.float32)


def duplicates(rng):
    real, fake = shifted(rng)
    fake[:20] = real[:20]
    fake[20:30] = real[0]
    fake[30:34] = fake[40]
    real[50:58] = real[49]
    real[60:62] = fake[45]
    return real, fake


def near_duplicates(rng):
    """Points whose distances are smaller than the rounding errors of their norms."""
    real, fake = duplicates(rng)
    real += 50
    return real + rng.normal(size=real.shape) * 1e-13, fake + 50 + rng.normal(size=fake.shape) * 1e-13


def zeros_of_both_signs(rng):
    real, fake = np.round(shifted(rng)[0]), np.round(shifted(rng)[1])
    return real, np.where(rng.random(fake.shape) < 0.5, fake, -fake)


def lattice(rng):
    """Points of a lattice, with many equal distances."""
    return rng.integers(0, 3, (90, 4)).astype(np.float32), rng.integers(0, 3, (70, 4)).astype(np.float32)


def collapsed(rng):
    real, fake = shifted(rng)
    return real, np.tile(fake[:1], (70, 1))


def collapsed_to_a_real(rng):
    real, _ = shifted(rng)
    return real, np.tile(real[:1], (70, 1))


def collapsed_but_for_rounding(rng):
    real, fake = collapsed_to_a_real(rng)
    return (real + 300).astype(np.float32), (fake + 300 + 1e-4 * rng.integers(0, 2, fake.shape)).astype(np.float32)


def collapsed_to_a_repeated_real(rng):
    real, fake = collapsed_to_a_real(rng)
    real[5:15] = real[0]
    return real, fake


def memorised(rng):
    real, _ = shifted(rng)
    return real, real[rng.permutation(90)[:70]]


def all_equal(rng):
    return np.ones((90, 8)), np.ones((70, 8))


def diverged(rng):
    real, fake = shifted(rng)
    fake[3] *= 1e9
    return real, fake


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("block_rows", [16, 2048])
@pytest.mark.parametrize(
    "points",
    [
        shifted,
        float32_far_from_the_origin,
        duplicates,
        near_duplicates,
        zeros_of_both_signs,
        lattice,
        collapsed,
        collapsed_to_a_real,
        collapsed_but_for_rounding,
        collapsed_to_a_repeated_real,
        memorised,
        all_equal,
        diverged,
    ],
)
def test_scores_equal_brute_force_exactly(points, block_rows, seed, monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(neighbors, "DIRECT_ELEMENTS", 100)
    real, fake = points(np.random.default_rng(seed))
    assert precision_recall_density_coverage(real, fake) == brute_force(real, fake)


@pytest.mark.parametrize("count", [8, 1024])
def test_all_scores_are_1_if_all_features_are_equal(count):
    ones = np.ones((count, 8), np.float32)
    assert set(precision_recall_density_coverage(ones, ones).values()) == {1.0}


def test_ties_do_not_increase_density_above_1():
    """On a lattice, most fakes are on boundaries, and fakes have as many real neighbours as real points do."""
    rng = np.random.default_rng(0)
    real, fake = rng.integers(0, 3, (500, 4)), rng.integers(0, 3, (500, 4))
    assert 0.95 < precision_recall_density_coverage(real, fake)["density"] <= 1.0
    # Fakes that collapse to a real point with 20 copies are on the boundary of the balls of all copies.
    real[:20] = real[0]
    collapsed = np.tile(real[:1], (500, 1))
    assert precision_recall_density_coverage(real, collapsed)["density"] <= 1.0


def test_density_without_ties_matches_the_published_definition():
    real, fake = shifted(np.random.default_rng(0))
    distances = np.linalg.norm(real[:, np.newaxis] - fake, axis=-1)
    radii = np.sort(np.linalg.norm(real[:, np.newaxis] - real, axis=-1), axis=1)[:, 5]
    published = (distances < radii[:, np.newaxis]).sum(axis=0).mean() / 5
    assert precision_recall_density_coverage(real, fake)["density"] == pytest.approx(published)


def test_numbers_of_neighbors_are_respected():
    real, fake = shifted(np.random.default_rng(0))
    for counts in ((1, 2), (7, 1)):
        settings = dict(zip(("precision_neighbors", "density_neighbors"), counts, strict=True))
        assert precision_recall_density_coverage(real, fake, **settings) == brute_force(real, fake, **settings)


def test_scores_separate_fidelity_from_variety():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(1000, 4))
    narrow = precision_recall_density_coverage(real, rng.normal(size=(1000, 4)) * 0.1)
    wide = precision_recall_density_coverage(real, rng.normal(size=(1000, 4)) * 3)
    assert narrow["precision"] > 0.95 > 0.3 > narrow["recall"]
    assert narrow["density"] > 1 > 0.1 > narrow["coverage"]
    assert wide["precision"] < 0.5 < 0.95 < wide["recall"]


def test_memory_mapped_files_score_like_arrays(tmp_path):
    real, fake = float32_far_from_the_origin(np.random.default_rng(0))
    real.tofile(tmp_path / "real")
    mapped = np.memmap(tmp_path / "real", np.float32, "r", shape=real.shape)
    assert precision_recall_density_coverage(mapped, fake) == precision_recall_density_coverage(real, fake)


def test_errors_name_expected_and_received_values():
    real, fake = shifted(np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected more than 5 real points, received 5"):
        precision_recall_density_coverage(real[:5], fake)
    with pytest.raises(ValueError, match="expected more than 3 fake points, received 3"):
        precision_recall_density_coverage(real[:6], fake[:3])
    with pytest.raises(
        ValueError, match=r"expected two matrices of equal width, received shapes \(90, 8\) and \(70, 7\)"
    ):
        precision_recall_density_coverage(real, fake[:, :7])
    with pytest.raises(ValueError, match="expected at least 1 neighbour, received 3 and 0"):
        precision_recall_density_coverage(real, fake, density_neighbors=0)
    fake[1, 2] = np.nan
    with pytest.raises(ValueError, match="expected finite features"):
        precision_recall_density_coverage(real, fake)


def test_nearest_neighbors_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr(neighbors, "BLOCK_ROWS", 7)
    rng = np.random.default_rng(3)
    # Few different values, so that many distances are equal.
    queries, references = rng.integers(0, 3, (20, 4)).astype(np.float32), rng.integers(0, 3, (30, 4)).astype(np.float32)
    pairs = np.linalg.norm(np.float64(queries)[:, np.newaxis] - references, axis=2)
    order = np.argsort(pairs, axis=1, kind="stable")[:, :5]
    distances, indices = nearest_neighbors(queries, references, 5)
    np.testing.assert_allclose(distances, np.take_along_axis(pairs, order, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(indices, order)
    far = nearest_neighbors(queries + 1e6, references + 1e6, 30)
    np.testing.assert_array_equal(far[1], np.argsort(pairs, axis=1, kind="stable"))


@pytest.mark.parametrize(
    ("queries", "references", "count", "message"),
    [
        (np.zeros((2, 3)), np.zeros((4, 2)), 1, "equal width"),
        (np.zeros((2, 3)), np.zeros((4, 3)), 5, "1 to 4 neighbours, received 5"),
        (np.full((2, 3), np.nan), np.zeros((4, 3)), 1, "finite"),
    ],
)
def test_nearest_neighbors_refuses_wrong_features(queries, references, count, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbors(queries, references, count)
