from hamgan.text_table import text_table


def test_columns_are_aligned():
    rows = [("class", "", "IoU"), ("cat", "small", "7.5"), ("elephant", "", "91.25")]
    assert text_table(rows, left=2).splitlines() == [
        "class              IoU",
        "cat       small    7.5",
        "elephant         91.25",
    ]
    assert text_table([("a", "bc"), ("def", "")]).splitlines() == ["  a  bc", "def"]
