"""Bad input, end to end: one line that names the key or file, exit code 2, nothing left behind."""

import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from runs import RUN, files_below

GLYPHS = ["dataset=glyphs", "logger=csv"]
FOLDER = [
    "dataset=image_folder",
    "dataset.image_size=8",
    "dataset.channels=1",
    "dataset.ways=2",
    "dataset.queries=1",
    "network.blocks=1",
    "network.filters=2",
    "training.iterations=1",
    "training.meta_batch_size=1",
    "evaluation.tasks=2",
    "evaluation.queries=1",
    "logger=csv",
    "hardware.threads=1",
]

pytestmark = pytest.mark.usefixtures("no_figures")

VALUES = {
    "text for a number": (
        ["algorithm.inner_steps=abc"],
        r'algorithm\.inner_steps="abc": accepted is a whole number',
    ),
    "a fraction": (
        ["training.iterations=1.5"],
        r"training\.iterations=1\.5: accepted is a whole .*",
    ),
    "a list with text": (
        ["network.hidden=[40,x]"],
        r"network\.hidden(\[1\])?=.*: accepted is a list of whole numbers",
    ),
    "a number for two": (
        ["dataset.domain=3"],
        r"dataset\.domain=3: accepted is \[number, number\]",
    ),
    "no value": (["seed="], r'seed="": accepted is a whole number'),
    "a value for a node": (["training=3"], r"training=3: accepted are its options, .*"),
    "a missing value": (["dataset.shots=???"], r"dataset\.shots: .*[Mm]issing.*"),
    "an unknown interpolation": (["seed=${nope}"], r"seed: .*'nope' not found.*"),
    "a new option at the top": (
        ["+sede=1"],
        r"sede: there is no such option; accepted: .*\(did you mean 'seed'\?\)",
    ),
    "a new option in a group": (
        ["+algorithm.iner_lr=1"],
        r"algorithm\.iner_lr: unknown to MAML; accepted: .*\(did you mean 'inner_lr'\?\)",
    ),
    "an option that the run itself gives": (
        ["+network.outputs=3"],
        r"network\.outputs: unknown to MLP; accepted: .*",
    ),
    "checkpoints together where a policy acts": (
        ["dataset=navigation2d", "evaluation=mamlpp"],
        r"evaluation\.select=top5: accepted is best, best_training or last: only one policy acts",
    ),
    "labels where a policy acts": (
        ["dataset=navigation2d", "evaluation=active_learning"],
        r"evaluation\.active_rounds=\d+: accepted is 0: .*",
    ),
    "the best outer step of what scores no tasks": (
        ["algorithm=reptile", "evaluation.select=best_training"],
        r"evaluation\.select=best_training: accepted is best or last: Reptile does not score .*",
    ),
    "MAML++'s loss of all steps where a policy acts": (
        ["algorithm=mamlpp", "dataset=navigation2d", "evaluation=rl"],
        r"algorithm\.multi_step_epochs=10: accepted is 0 for policies",
    ),
    "shorter numbers for what takes products of its own": (
        ["algorithm=leo", "dataset=glyphs", "network=linear", "hardware.precision=bf16"],
        r"hardware\.precision=bf16: accepted is float32 or float64: "
        r"LEO computes some products itself",
    ),
    "an outer rate that ends nowhere": (
        ["algorithm.outer_lr_final=nan"],
        r"algorithm\.outer_lr_final=nan: accepted is 0 or more",
    ),
    "a seed that torch cannot take": (
        ["seed=99999999999999999999"],
        r"seed=99999999999999999999: accepted is 0 to 18446744073709551615",
    ),
    "below the range": (["algorithm.inner_lr=-1"], r"algorithm\.inner_lr=-1\.0: accepted is .*"),
    "an unknown word": (
        ["network.norm=bacth"],
        r"network\.norm=bacth: accepted is batch, .*\(did you mean 'batch'\?\)",
    ),
    "another unknown word": (["on_nan=go"], r"on_nan=go: accepted is stop, skip.*"),
    "no such class": (
        ["algorithm._target_=no_lab.Learner"],
        r"algorithm\._target_=no_lab\.Learner: No module named 'no_lab'; accepted is .*",
    ),
    "no class": (
        ["algorithm._target_=os.path.join"],
        r"algorithm\._target_=os\.path\.join: accepted is the path of a class",
    ),
    "a number for text": (
        ["name=2024"],
        r"name=2024: accepted is text, as .name='2024'.",
    ),
    "a test that is no list": (
        ["also_test=[evaluation.shots=5]"],
        r"also_test=.*: text .* needs quotes; accepted is .also_test=\[\['text','text'\]\].",
    ),
    "a name that climbs": (["name=../elsewhere"], r"name=\.\./elsewhere: accepted is a folder .*"),
    "an unknown device": (["hardware.device=tpu"], r"hardware\.device=tpu: accepted is cpu, .*"),
    "more ways than classes": (
        [*GLYPHS, "dataset.ways=5000"],
        r"dataset\.ways=5000: accepted is 2 to \d+: \w+ has no more classes",
    ),
    "more shots than images": (
        [*GLYPHS, "dataset.shots=21"],
        r"dataset\.(train_)?shots=21: accepted is 1 to 20: a class of train has 20 images",
    ),
    "more queries than images": (
        [*GLYPHS, "dataset.shots=15", "dataset.queries=6"],
        r"dataset\.queries=6: accepted is 0 to 5: a class of train has 20 images, .*",
    ),
    "a network of images for points": (
        ["network=conv4"],
        r"network\._target_=Conv4: accepted is a network for inputs of shape \[1\], say mlp",
    ),
    "a network too deep": (
        [*GLYPHS, "network.down=pool", "network.blocks=6"],
        r"network\.blocks=6: accepted is fewer: images of 28x28 vanish",
    ),
}


@pytest.mark.parametrize(("arguments", "expected"), VALUES.values(), ids=VALUES)
def test_values(mamlbench, full_match, arguments, expected):
    result = mamlbench(*arguments)
    assert result.code == 2
    assert result.out == ""
    full_match(expected, result.complaint)
    assert files_below(Path()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_no_gpu(mamlbench):
    result = mamlbench("hardware=gpu", *RUN[:-2])
    assert result.code == 2
    assert result.complaint == (
        "hardware.device=cuda: accepted is cpu: this machine has no GPU that torch can use"
    )


# --- data -----------------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path, monkeypatch):
    """An empty folder for datasets."""
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("MAMLBENCH_DATA", str(folder))
    monkeypatch.setattr(
        "mamlbench.datasets.store.user_cache_path", lambda name: tmp_path / "cache" / name
    )
    return folder


@pytest.fixture
def pictures(data):
    """Two splits with three classes each, three grey 8x8 pictures per class."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b", "c"):
            folder = data / "image_folder" / split / f"{split}_{name}"
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return data / "image_folder"


def test_good_pictures(mamlbench, pictures):
    assert mamlbench(*FOLDER).code == 0


def test_pictures_that_changed_since_the_result(mamlbench, pictures):
    assert mamlbench(*FOLDER).code == 0
    assert mamlbench(*FOLDER).code == 0  # shown, because the data are the same
    (pictures / "test" / "test_a" / "2.png").write_bytes(
        (pictures / "test" / "test_b" / "2.png").read_bytes()
    )
    for command in (FOLDER, ["-m", *FOLDER]):
        result = mamlbench(*command)
        assert result.code == 2
        assert "inner steps" not in result.out
        assert re.search(r"is a result on other data \(sha256 \w{12}, now \w{12}\)", result.err)
    shutil.rmtree(pictures)  # without data, nothing contradicts the result
    assert mamlbench(*FOLDER).code == 0
    pictures.joinpath("train", "x").mkdir(parents=True)
    pictures.joinpath("test").mkdir()
    assert mamlbench(*FOLDER).code == 0  # the same with broken data


def test_a_broken_picture(mamlbench, pictures):
    broken = pictures / "train" / "train_b" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    result = mamlbench(*FOLDER)
    assert result.code == 2
    assert result.complaint.startswith(f"{broken}: this picture cannot be decoded")
    assert files_below(Path()) == []


def test_no_folder(mamlbench, data):
    result = mamlbench(*FOLDER)
    assert result.code == 2
    assert result.complaint.startswith(f"{data / 'image_folder'}: train or test is missing; ")
    assert files_below(Path()) == []


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("dataset.ways=4", "dataset.ways=4: accepted is 2 to 3: train has no more classes"),
        ("dataset.shots=4", "dataset.shots=4: accepted is 1 to 3: a class of train has 3 images"),
        ("dataset.queries=3", "dataset.queries=3: accepted is 0 to 2: a class of train has 3 "),
        ("evaluation.shots=5", "evaluation.shots=5: accepted is 1 to 3: a class of test has 3 "),
        ("evaluation.queries=3", "evaluation.queries=3: accepted is 0 to 2: a class of test has 3"),
    ],
)
def test_too_few_pictures(mamlbench, pictures, option, expected):
    result = mamlbench(*FOLDER, option)
    assert result.code == 2
    assert result.complaint.startswith(expected)
    assert files_below(Path()) == []


def test_a_truncated_zip(mamlbench, data):
    archive = data / "omniglot" / "images_background.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("images_background/Latin/character01/0001_01.png", b"x" * 1000)
    archive.write_bytes(archive.read_bytes()[:-30])
    (data / "omniglot" / "images_evaluation.zip").write_bytes(archive.read_bytes())
    result = mamlbench("dataset=omniglot", "logger=csv")
    assert result.code == 2
    assert result.complaint.startswith(f"{archive}: not a complete zip file")
    assert files_below(Path()) == []


def test_a_restart_without_its_data_loses_nothing(mamlbench, pictures):
    assert mamlbench(*FOLDER).code == 0
    before = files_below(Path("outputs"))
    pictures.rename(pictures.with_name("elsewhere"))
    assert mamlbench(*FOLDER, "restart=true").code == 2
    assert files_below(Path("outputs")) == before


def test_an_interpolation_is_kept_as_typed(mamlbench):
    assert mamlbench(*RUN, "evaluation.shots=${dataset.shots}").code == 0
    [config] = Path("outputs").rglob("config.yaml")
    assert "evaluation.shots=${dataset.shots}" in config.read_text()


# --- numbers --------------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite(mamlbench, full_match):
    line = [*RUN, "algorithm.inner_lr=1e30", "algorithm.inner_steps=3", "training.iterations=3"]
    result = mamlbench(*line)
    assert result.code == 2
    [checkpoint] = Path("outputs").rglob("checkpoint.pt")
    expected = (
        rf"iteration 1: .*3 of 3 tasks.*of iteration 0, is in {re.escape(str(checkpoint))}; "
        r"on_nan=skip goes on without such steps"
    )
    full_match(expected, result.complaint)
    assert torch.load(checkpoint, weights_only=True)["iteration"] == 0
    assert not list(Path("outputs").rglob("summary.json"))

    # the same run, because on_nan is not part of the hash
    assert mamlbench(*line, "on_nan=skip").code == 0
    assert torch.load(checkpoint, weights_only=True)["skipped"] == 3
