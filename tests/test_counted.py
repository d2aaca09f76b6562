from hamgan.counted import counted


def test_nouns_agree_with_their_numbers():
    assert [counted(count, "file") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]
    assert [counted(count, "broken class") for count in (1, 1_200)] == ["1 broken class", "1,200 broken classes"]
    assert [counted(count, "file is", "files are") for count in (1, 3)] == ["1 file is", "3 files are"]
