"""Pickles: both layouts, and refusal of anything except data."""

import os
import pickle

import numpy as np
import pytest

from mamlbench.datasets.pickles import pickled_pictures
from mamlbench.datasets.pictures import Decoding, decode
from mamlbench.errors import UserError

IMAGES = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
BY_DICT = {"image_data": IMAGES, "class_dict": {"cat": [2, 0], "ant": [1, 3]}}
BY_LABEL = {"data": IMAGES, "labels": [7, 3, 7, 3]}


def read(tmp_path, content, protocol=2):
    path = tmp_path / "images.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
    return {
        name: [decode(picture, Decoding(3, 2, 2, "nearest")).tolist() for picture in pictures]
        for name, pictures in pickled_pictures(path).items()
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_layouts(tmp_path, protocol):
    image = [picture.transpose(2, 0, 1).tolist() for picture in IMAGES]
    by_dict = read(tmp_path, BY_DICT, protocol)
    assert by_dict == {"ant": [image[1], image[3]], "cat": [image[2], image[0]]}
    assert [*by_dict] == ["ant", "cat"]
    by_label = read(tmp_path, BY_LABEL, protocol)
    assert by_label == {"00003": [image[1], image[3]], "00007": [image[0], image[2]]}
    as_bytes = {b"data": IMAGES, b"labels": np.array([7, 3, 7, 3])}
    assert read(tmp_path, as_bytes, protocol) == by_label


def test_written_by_python_2_and_old_numpy(tmp_path):
    """One image of one pixel, as Python 2 wrote it: its module's old name, its bytes as a str."""
    old = (
        b"\x80\x02}q\x00(U\nimage_datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
        b"K\x00\x85U\x01b\x87R(K\x01(K\x01K\x01K\x01K\x03tcnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x03\x01\x80\xfftb"
        b"U\nclass_dict}U\x03ant]K\x00asu."
    )
    path = tmp_path / "old.pkl"
    path.write_bytes(old)
    ((name, (picture,)),) = pickled_pictures(path).items()
    assert name == "ant"
    assert np.asarray(picture.open()).tolist() == [[[1, 128, 255]]]


class Runs:
    """Asks whoever unpickles it to call a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "function", [os.system, os.mkdir, eval, exec, getattr, np.load, np.fromfile, open]
)
def test_a_hostile_pickle_runs_nothing(tmp_path, monkeypatch, function):
    monkeypatch.chdir(tmp_path)
    arguments = ("mkdir broken",) if function is os.system else ("broken",)
    with pytest.raises(UserError, match=r"images.pkl: not a pickle of images \(it would import"):
        read(tmp_path, {**BY_DICT, "extra": Runs(function, *arguments)})
    assert not (tmp_path / "broken").exists()


def test_a_hostile_array_of_objects_runs_nothing(tmp_path):
    array = np.empty((1, 2, 2, 3), dtype=object)
    array[0, 0, 0, 0] = Runs(os.mkdir, str(tmp_path / "broken"))
    with pytest.raises(UserError, match="it would import"):
        read(tmp_path, {"data": array, "labels": [0]})
    assert not (tmp_path / "broken").exists()


def test_numpy_is_no_way_around(tmp_path):
    """A dotted name reaches through a module to others that it imports."""
    hostile = b"\x80\x04\x8c\x05numpy\x8c\x0eos.path.exists\x93\x8c\x01x\x85R."
    with pytest.raises(UserError, match=r"it would import numpy.os.path.exists"):
        read(tmp_path, hostile)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Ran out of input"),
        (pickle.dumps(BY_DICT)[:-50], "not a pickle of images"),
        (b"PK\x03\x04", "not a pickle of images"),
        ([1, 2], "has no attribute"),
        ({"image_data": IMAGES.astype(np.float32), "class_dict": {}}, r"float32 \[4, 2, 2, 3\]"),
        ({"data": IMAGES[..., 0], "labels": [0] * 4}, r"uint8 \[4, 2, 2\]"),
        ({"data": IMAGES, "labels": [0]}, "1 labels for 4 images"),
        ({"image_data": IMAGES, "class_dict": {"ant": [4]}}, "out of bounds"),
    ],
)
def test_other_content_is_refused(tmp_path, content, reason):
    with pytest.raises(UserError, match=reason):
        read(tmp_path, content)
