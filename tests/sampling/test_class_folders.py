import os
import unicodedata

import pytest

from hamgan.sampling.class_folders import class_folders
from hamgan.sampling.imagenet_names import imagenet_synsets


def test_usual_names_stay_as_they_are():
    names = ["7", "golden retriever", "a, b", "größer", "日本", "it's (new)"]
    assert class_folders(names) == names


@pytest.mark.parametrize(
    ("name", "folder"),
    [("a/b", "a%2Fb"), ("..", "%2E%2E"), (".", "%2E"), ("-rf", "%2Drf"), ("50%", "50%25"), ("x\n", "x%0A"), ("", "#0")],
)
def test_other_characters_are_encoded(name, folder):
    assert class_folders([name]) == [folder]


def test_no_two_classes_share_a_folder(tmp_path):
    composed = "größer"
    names = ["Rose", "rose", "rose #1", "a/b", "a%2Fb", "x" * 300, "x" * 301, "", " ", composed]
    names += [unicodedata.normalize("NFD", composed), "crane", "crane", "*?[]", "\x00", "log.json", "日" * 200]
    folders = class_folders(names, reserved=["log.json"])
    for folder in folders:
        (tmp_path / folder).mkdir()
    assert sorted(os.listdir(tmp_path)) == sorted(folders)
    assert len({unicodedata.normalize("NFC", folder).casefold() for folder in folders}) == len(names)
    assert folders[:2] == ["Rose #0", "rose #1"]
    assert "log.json" not in folders


def test_folders_of_imagenet_have_readable_names():
    folders = class_folders(imagenet_synsets())
    assert len({folder.casefold() for folder in folders}) == 1000
    assert folders[281] == "tabby"
    assert (folders[134], folders[517]) == ("crane #134", "crane #517")
