import pytest

from data_prep.folder_layout import checked_class_name, find_layout, table_layout, wrapping_folder
from hamgan.errors import UserError


def _find(*pictures):
    return find_layout("photos", pictures, default_class="flowers")


def _kinds(layout):
    return sorted((problem.kind, problem.where) for problem in layout.problems)


def test_class_is_the_first_folder():
    layout = _find("tulips/a.jpg", "roses/2020/may/b.jpg", "roses/c.jpg")
    assert layout.class_of == {"tulips/a.jpg": "tulips", "roses/2020/may/b.jpg": "roses", "roses/c.jpg": "roses"}
    assert layout.class_names == ("roses", "tulips")
    assert layout.split_of is None
    assert not layout.problems


def test_classes_are_sorted_by_code_point():
    layout = _find("b/1.jpg", "a, b/1.jpg", "Z/1.jpg", "10/1.jpg", "9/1.jpg", "ä 'x' \"y\"/1.jpg", "日本/1.jpg")
    assert layout.class_names == ("10", "9", "Z", "a, b", "b", "ä 'x' \"y\"", "日本")


def test_pictures_without_folders_are_one_class():
    assert _find("a.jpg", "b.jpg").class_of == {"a.jpg": "flowers", "b.jpg": "flowers"}


def test_few_pictures_beside_class_folders_are_skipped_and_many_refused():
    layout = _find("overview.jpg", "roses/1.jpg", "tulips/1.jpg")
    assert layout.class_names == ("roses", "tulips")
    assert _kinds(layout) == [("unlabeled", "overview.jpg")]
    with pytest.raises(
        UserError, match=r"photos/ holds 2 pictures, such as a.jpg, beside folders with 1 picture \(roses\)"
    ):
        _find("a.jpg", "b.jpg", "roses/1.jpg")


@pytest.mark.parametrize("name", ["validation", "valid", "val", "test", "Val"])
def test_split_folders(name):
    layout = _find("train/a/1.jpg", "train/b/1.jpg", f"{name}/a/2.jpg")
    assert layout.split_of == {"train/a/1.jpg": "train", "train/b/1.jpg": "train", f"{name}/a/2.jpg": "validation"}
    assert layout.class_of[f"{name}/a/2.jpg"] == "a"
    assert _kinds(layout) == [("no_validation", "b")]


def test_split_folders_without_classes():
    layout = _find("train/1.jpg", "train/2.jpg", "test/3.jpg")
    assert layout.class_names == ("flowers",)
    assert layout.split_of["test/3.jpg"] == "validation"


def test_further_splits_are_reported():
    layout = _find("train/a/1.jpg", "test/a/2.jpg", "valid/a/3.jpg")
    assert layout.split_of == {"train/a/1.jpg": "train", "valid/a/3.jpg": "validation"}
    assert _kinds(layout) == [("unused_split", "test")]


def test_class_that_only_validation_has_is_refused():
    with pytest.raises(
        UserError, match="photos/val holds classes that photos/train does not have: b; expected the same"
    ):
        _find("train/a/1.jpg", "val/a/1.jpg", "val/b/1.jpg")


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (
            ["train/a/1.jpg", "val/a/1.jpg", "extra/1.jpg"],
            "holds train, val beside extra: expected either folders train",
        ),
        (["train/a/1.jpg", "roses/1.jpg"], "did you mean --source photos/train"),
        (["val/a/1.jpg", "test/a/1.jpg"], "holds val, test but no folder train"),
    ],
)
def test_ambiguous_folders_are_refused(pictures, message):
    with pytest.raises(UserError, match=message):
        _find(*pictures)


def test_folder_far_above_the_classes_is_reported():
    above = [f"{site}/{name}/1.jpg" for site in ("harbor", "garden") for name in ("roses", "tulips")]
    layout = _find(*above)
    assert layout.class_names == ("garden", "harbor")
    assert _kinds(layout) == [("only_subfolders", "garden"), ("only_subfolders", "harbor")]
    assert not _find(*above, "roses/1.jpg").problems
    assert not _find("roses/images/1.jpg", "tulips/images/1.jpg").problems


def test_train_and_test_may_be_classes():
    assert _find("train/1.jpg", "bus/1.jpg").class_names == ("bus", "train")


@pytest.mark.parametrize(
    ("pictures", "tables", "prefix"),
    [
        (["roses/1.jpg", "tulips/1.jpg"], [], ""),
        (["roses/1.jpg"], [], ""),
        (["photos/roses/1.jpg", "photos/tulips/1.jpg"], [], "photos/"),
        (["a/b/roses/1.jpg", "a/b/tulips/1.jpg"], [], "a/b/"),
        (["train/roses/1.jpg", "train/tulips/1.jpg"], [], "train/"),
        (["photos/train/a/1.jpg", "photos/val/a/1.jpg"], [], "photos/"),
        (["photos/roses/1.jpg", "photos/tulips/1.jpg", "photos/overview.jpg"], [], "photos/"),
        (["photos/roses/1.jpg", "photos/tulips/1.jpg", "overview.jpg"], [], "photos/"),
        (["1.jpg", "2.jpg"], [], ""),
        (["photos/1.jpg", "photos/2.jpg"], ["photos/labels.csv"], "photos/"),
        (["photos/1.jpg", "photos/2.jpg"], ["labels.csv"], ""),
    ],
)
def test_wrapping_folder(pictures, tables, prefix):
    assert wrapping_folder(pictures, tables) == prefix


PICTURES = ("a.jpg", "sub/b.jpg", "sub/c, d.jpg")


@pytest.mark.parametrize("header", ["", "file,label\n", "file_name,label\r\n", "File_Name,Label\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_table_of_labels(header, encoding):
    table = header + 'a.jpg, red \n./sub/b.jpg,"größer, blau"\n\nsub\\b.jpg,"größer, blau"\n'
    layout = table_layout("photos", table.encode(encoding), PICTURES)
    assert layout.class_of == {"a.jpg": "red", "sub/b.jpg": "größer, blau"}
    assert layout.class_names == ("größer, blau", "red")
    assert _kinds(layout) == [("repeated_row", "sub/b.jpg"), ("without_row", "sub/c, d.jpg")]


def test_accents_match_in_any_encoding():
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    layout = table_layout("photos", f"{composed}.jpg,{decomposed}\n".encode(), [f"{decomposed}.jpg"])
    assert layout.class_of == {f"{decomposed}.jpg": composed}
    assert _find(f"train/{composed}/1.jpg", f"val/{decomposed}/2.jpg").class_names == (composed,)
    with pytest.raises(UserError, match="differ only in spaces or in the encoding of accents"):
        _find(f"{composed}/1.jpg", f"{decomposed}/1.jpg")


def test_rows_without_a_file_are_reported():
    layout = table_layout("photos", b'a.jpg,red\nz.jpg,red\nsub/b.jpg,red\n"sub/c, d.jpg",red\n', PICTURES)
    assert _kinds(layout) == [("without_file", "z.jpg")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"a.jpg,red\na.jpg,blue\n", "labels.csv, line 2: 'a.jpg' has two labels, 'red' and 'blue'"),
        (b"a.jpg,red\n\xff\xfe,blue\n", "line 2: expected text in UTF-8"),
        (b"a.jpg;red\n", "line 1: expected a file and a label, separated by a comma"),
        (b"a.jpg,red,blue\n", "line 1: expected a file and a label"),
        (b"a.jpg,\n", "line 1: expected a file and a label"),
        (b'a.jpg,"red\n', "line 1: expected CSV"),
        (b'a.jpg,"red\nblue"\n', "contains a line break or another control character"),
        (b"../a.jpg,red\n", "expected a path relative to the folder of labels.csv"),
        (b"/a.jpg,red\n", "expected a path relative to the folder of labels.csv"),
        (b"x.jpg,red\n", "names no picture in photos: expected rows such as a.jpg,LABEL, found 'x.jpg'"),
        (b"file,label\n", "names no picture in photos: .* found no rows"),
    ],
)
def test_faulty_tables_are_refused(table, message):
    with pytest.raises(UserError, match=message) as raised:
        table_layout("photos", table, PICTURES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\nb", "control character"), ("a\tb", "control character"), (" ", "is empty"), ("caf\udce9", "not valid UTF-8")],
)
def test_class_names_that_tfds_cannot_store_are_refused(name, message):
    with pytest.raises(UserError, match=message) as raised:
        checked_class_name(name, f"the folder {name}")
    assert "\n" not in str(raised.value)
    str(raised.value).encode()


def test_folders_that_differ_only_in_spaces_are_refused():
    with pytest.raises(UserError, match="differ only in spaces"):
        _find("roses/1.jpg", "roses /1.jpg")
