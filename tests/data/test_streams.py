import pytest

from hamgan.data.streams import choose_num_streams


@pytest.mark.parametrize(
    ("sizes", "batch", "expected"),
    [
        ([1251] * 640 + [1252] * 384, 1024, 64),  # ImageNet
        ([1251] * 1024, 48, 16),
        ([100], 32, 1),
        ([100, 100, 100], 32, 1),
        ([100] * 7 + [50], 32, 1),
        ([100] * 4, 32, 4),
    ],
)
def test_streams_divide_the_batch_and_have_nearly_equal_length(sizes, batch, expected):
    assert choose_num_streams(sizes, batch) == expected
