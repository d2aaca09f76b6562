import pytest

from hamgan.config import override
from hamgan.config.segmentation_presets import segnext_tiny, voc_trainaug
from hamgan.segmentation.training.schedule import Schedule


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (1, 9e-3),
        (9, 9e-3),
        (10, 9e-3 * (1 - 10 / 60_000) ** 0.9),
        (11, 9e-3 * (1 - 10 / 60_000) ** 0.9),
        (19, 9e-3 * (1 - 10 / 60_000) ** 0.9),
        (20, 9e-3 * (1 - 20 / 60_000) ** 0.9),
        (59_999, 9e-3 * (10 / 60_000) ** 0.9),
        (60_000, 0.0),
    ],
)
def test_the_published_schedule_changes_every_tenth_iteration(iteration, expected):
    assert float(Schedule(voc_trainaug().train)(iteration - 1)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("iteration", "expected"),
    [
        (1, 6e-5 * 1e-6),
        (751, 6e-5 * (1e-6 + (1 - 1e-6) / 2)),
        (1_501, 6e-5 * (1 - 1 / 158_500)),
        (80_750, 6e-5 / 2),
        (160_000, 0.0),
    ],
)
def test_warm_up_is_followed_by_a_linear_schedule(iteration, expected):
    assert float(Schedule(segnext_tiny().train)(iteration - 1)) == pytest.approx(expected, rel=1e-5, abs=1e-15)


def test_a_constant_rate_is_constant():
    schedule = Schedule(override(voc_trainaug(), ["train.schedule=constant"]).train)
    assert [float(schedule(step)) for step in (0, 10, 59_999)] == pytest.approx([9e-3] * 3)
