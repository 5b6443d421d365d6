"""Pictures of every kind become the pixels that a person would see."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from mamlbench.datasets.pictures import Decoding, Picture, class_folders, decode, pictures_in
from mamlbench.errors import UserError

GREY, COLOUR = Decoding(1, 2, 2, "nearest"), Decoding(3, 2, 2, "nearest")


def in_file(path):
    return Picture(str(path), path.read_bytes)


def test_folder_and_zip_give_the_same(tmp_path, save_picture, zip_folder):
    for i, name in enumerate(["b/x/2.png", "b/x/10.png", "a/y/1.png"]):
        save_picture(tmp_path / "f" / name, np.full((2, 2), i))
    for name in ("b/x/notes.txt", "b/x/.3.png", "__MACOSX/b/1.png"):
        path = tmp_path / "f" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("not a picture")
    archive = zip_folder(tmp_path / "f", tmp_path / "f.zip")
    found = {}
    for path in (tmp_path / "f", archive):
        pictures = pictures_in(path)
        found[path.suffix] = [(parts, decode(p, GREY)[0, 0, 0]) for parts, p in pictures]
    expected = [(("a", "y", "1.png"), 2), (("b", "x", "10.png"), 1), (("b", "x", "2.png"), 0)]
    assert found[""] == found[".zip"] == expected
    assert [*class_folders(archive)] == ["x", "y"]


def test_colour_to_grey_and_back(tmp_path, save_picture):
    red = save_picture(tmp_path / "red.png", np.full((2, 2, 3), (255, 0, 0)))
    assert decode(in_file(red), GREY)[0].tolist() == [[76, 76]] * 2  # 0.299 * 255
    assert decode(in_file(red), COLOUR)[:, 0, 0].tolist() == [255, 0, 0]
    grey = save_picture(tmp_path / "grey.png", np.array([[0, 50], [100, 150]]))
    assert decode(in_file(grey), COLOUR).tolist() == [[[0, 50], [100, 150]]] * 3


def test_transparent_is_white(tmp_path, save_picture):
    black = np.zeros((2, 2, 4))
    black[0, 0, 3] = 255
    path = save_picture(tmp_path / "ink.png", black)
    assert decode(in_file(path), GREY)[0].tolist() == [[0, 255], [255, 255]]


def test_16_bit_grey_is_scaled_not_clipped(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 256 * 50], [256 * 100, 65535]], np.uint16)).save(path)
    assert decode(in_file(path), GREY)[0].tolist() == [[0, 50], [100, 255]]


def test_1_bit_is_made_grey_before_it_is_resized(tmp_path, save_picture):
    board = np.array([[0, 255], [255, 0]])
    path = save_picture(tmp_path / "bits.png", board, mode="1")
    assert decode(in_file(path), Decoding(1, 1, 1, "box")).tolist() == [[[128]]]


def test_the_camera_was_held_upright(tmp_path):
    # orientation 6: the picture is to be turned by a quarter, clockwise
    image = Image.fromarray(np.array([[0, 50], [100, 150]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.png", exif=exif)
    pixels = decode(in_file(tmp_path / "turned.png"), GREY)
    assert pixels[0].tolist() == [[100, 0], [150, 50]]


def test_a_truncated_zip_is_named(tmp_path, png):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr("a/1.png", png([[0]]))
    path = tmp_path / "x.zip"
    path.write_bytes(whole.getvalue()[:-30])
    with pytest.raises(UserError, match=r"x.zip: not a complete zip file .*: fetch it anew"):
        pictures_in(path, ": fetch it anew")


def test_a_picture_spoilt_inside_a_zip_is_named(tmp_path, png):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/1.png", png([[0, 1], [2, 3]]))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 6] ^= 255
    path.write_bytes(data)
    ((_, picture),) = pictures_in(path)
    with pytest.raises(UserError, match=r"x.zip: a/1.png: this picture cannot be decoded"):
        decode(picture, GREY)


@pytest.mark.parametrize("data", [b"", b"GIF89a?", b"\x89PNG\r\n\x1a\n"])
def test_a_picture_that_is_none_is_named(tmp_path, data):
    (tmp_path / "no.png").write_bytes(data)
    with pytest.raises(
        UserError, match=r"no.png: this picture cannot be decoded \(unknown format\)$"
    ):
        decode(in_file(tmp_path / "no.png"), GREY)


def test_a_picture_outside_the_classes_is_named(tmp_path, save_picture):
    save_picture(tmp_path / "stray.png", [[0]])
    with pytest.raises(UserError, match=r"stray.png: this picture is not in a class folder"):
        class_folders(tmp_path)
