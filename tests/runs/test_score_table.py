import pytest

from hamgan.runs.score_table import shown


@pytest.mark.parametrize(
    ("value", "form", "expected"),
    [(-3e-13, "{:.2f}", "0.00"), (-1e-6, "{:.1%}", "0.0%"), (-0.5, "{:.2f}", "-0.50"), (1.25, "{:.2f}", "1.25")],
)
def test_rounding_errors_give_no_negative_zero(value, form, expected):
    assert shown({"scores": {"fid": value}, "spread": {}, "standard_errors": {}}, "fid", form) == expected
