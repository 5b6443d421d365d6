"""CelebA's attribute tasks, from pictures whose colour encodes their number."""

import itertools
import re
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from mamlbench.algorithms import MAML
from mamlbench.datasets import CelebA
from mamlbench.datasets.celeba_files import ATTRIBUTES
from mamlbench.datasets.checks import check_tasks
from mamlbench.errors import BadValue, UserError
from mamlbench.evaluation import Protocol, evaluate
from mamlbench.hardware.device import Hardware
from mamlbench.networks import Conv4

CPU = torch.device("cpu")
COUNT = 240
VAL = ("Smiling", "Young", "Male")
TEST = ("Eyeglasses", "Wearing_Hat", "Blurry", "Bald")
RARE = ATTRIBUTES.index("Goatee")
# the attributes of each picture: about half of the 40, except RARE, which only the last two have
HAS = np.random.default_rng(0).random((COUNT, len(ATTRIBUTES))) < 0.5
HAS[:, RARE] = np.arange(COUNT) >= COUNT - 2


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    lines = [str(COUNT), " ".join(ATTRIBUTES) + " "]
    for i, has in enumerate(HAS):
        colour = (16 * (i % 16) + 8, 16 * (i // 16) + 8, 128)
        name = f"{i + 1:06}.jpg"
        Image.new("RGB", (8, 10), colour).save(folder / "img_align_celeba" / name, quality=95)
        lines.append(" ".join([name, *(f"{1 if own else -1:2}" for own in has)]))
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    return folder.parent


def make(root, **options):
    own = {"val_attributes": VAL, "test_attributes": TEST, "image_size": 4, "queries": 2}
    return CelebA(**{"shots": 3, "root": str(root), **own, **options})


def loaded(root, **options):
    dataset = make(root, **options)
    dataset.load(CPU)
    return dataset


def numbers(examples):
    """The number of each picture, [T, M]."""
    red, green = ((examples.x[:, :, c, 0, 0] * 255).numpy() // 16 for c in (0, 1))
    return (16 * green + red).astype(int)


def test_attributes_and_pictures_belong_together(root):
    dataset = make(root)
    images = dataset.read()
    assert images.images.shape == (COUNT, 3, 4, 4)
    found = []
    for name, count in zip(images.classes, images.counts, strict=True):
        found += [name] * count
    green, red = (images.images[:, c, 0, 0].astype(int) // 16 for c in (1, 0))
    order = 16 * green + red
    assert sorted(order) == list(range(COUNT))
    own = ["".join("01"[value] for value in has.astype(int)) for has in HAS[order]]
    assert found == own


def test_a_zip_gives_the_same(root, tmp_path):
    (tmp_path / "celeba").mkdir()
    table = root / "celeba" / "list_attr_celeba.txt"
    (tmp_path / "celeba" / table.name).write_bytes(table.read_bytes())
    with zipfile.ZipFile(tmp_path / "celeba" / "img_align_celeba.zip", "w") as archive:
        for path in (root / "celeba" / "img_align_celeba").iterdir():
            archive.write(path, f"img_align_celeba/{path.name}")
    assert make(tmp_path).read().sha256 == make(root).read().sha256


def test_positives_share_two_attributes_and_negatives_have_neither(root):
    tasks = loaded(root).sample("train", 0, 0, 60)
    support, query = numbers(tasks.support), numbers(tasks.query)
    assert support.shape == (60, 6)
    assert query.shape == (60, 4)
    for task, attributes in enumerate(tasks.info["attributes"]):
        assert len(set(attributes)) == 2
        for side, own in ((tasks.support, support), (tasks.query, query)):
            positive = side.y[task].numpy() == 1
            assert positive.sum() * 2 == len(positive)
            assert HAS[own[task, positive]][:, attributes].all()
            assert not HAS[own[task, ~positive]][:, attributes].any()
        assert len({*support[task], *query[task]}) == 10
    assert "possible" not in tasks.info


def test_tasks_are_as_declared_ambiguous_or_not(root):
    for split in ("train", "val", "test"):
        check_tasks(loaded(root), split, 3, 2)


@pytest.mark.parametrize("third", ["absent", "free"])
def test_an_ambiguous_task_has_three_readings(root, third):
    dataset = loaded(root, third=third)
    tasks = dataset.sample("test", 0, 0, 60, shots=3, queries=2)
    support, query = numbers(tasks.support), numbers(tasks.query)
    assert query.shape == (60, 12)
    with_third = 0
    for task, attributes in enumerate(tasks.info["attributes"]):
        positive = tasks.support.y[task].numpy() == 1
        assert positive.sum() == 3
        assert HAS[support[task, positive]][:, attributes].all()
        assert not HAS[support[task, ~positive]][:, attributes].any()
        for number, pair in enumerate(itertools.combinations(attributes, 2)):
            own = tasks.info["possible"][task] == number
            labels, pictures = tasks.query.y[task].numpy()[own], query[task, own]
            assert sorted(labels) == [0, 0, 1, 1]
            assert HAS[pictures[labels == 1]][:, pair].all()
            assert not HAS[pictures[labels == 0]][:, pair].any()
            (last,) = set(attributes) - set(pair)
            with_third += HAS[pictures, last].sum()
        assert len({*support[task], *query[task]}) == 18
    # out of 60 * 12 queries, if it is free
    assert (with_third == 0) if third == "absent" else (with_third > 150)


def test_each_split_has_attributes_of_its_own(root):
    dataset = loaded(root)
    seen = {}
    for split, size in (("train", 2), ("val", 3), ("test", 3)):
        info = dataset.sample(split, 0, 0, 150, shots=1, queries=1).info
        assert info["attributes"].shape == (150, size)
        seen[split] = {ATTRIBUTES[i] for i in info["attributes"].ravel()}
    assert seen["val"] == set(VAL)
    assert seen["test"] == set(TEST)
    assert not seen["train"] & {*VAL, *TEST}
    assert len(seen["train"]) > 25  # of 33, in 300 places


def test_attributes_of_which_there_are_too_few_images_are_left_out(root):
    """Only two pictures have the rare attribute, so a pair with it has at most two positives."""
    dataset = loaded(root, queries=1)
    many = dataset.sample("train", 0, 0, 300, shots=2, queries=1).info["attributes"]
    assert RARE not in many
    few = dataset._combinations("train", 1, 1)
    both = set(np.flatnonzero(HAS[-2:].all(axis=0))) - {RARE}
    train = {ATTRIBUTES.index(name) for name in dataset.attributes["train"]}
    partners = {ATTRIBUTES.index(name) for names in few for name in names if "Goatee" in names}
    assert partners - {RARE} == both & train
    with pytest.raises(UserError, match=r"no 3 attributes of test have enough images for 40 shots"):
        dataset.sample("test", 0, 0, 1, shots=40, queries=1)


def test_task_i_is_the_same_for_any_batch_size(root):
    dataset = loaded(root)
    for split in ("train", "test"):
        whole = dataset.sample(split, 3, 0, 6)
        for first, count in ((0, 1), (2, 3)):
            part, same = dataset.sample(split, 3, first, count), whole[first : first + count]
            assert torch.equal(part.support.x, same.support.x)
            assert torch.equal(part.query.x, same.query.x)
            assert torch.equal(part.query.y, same.query.y)
            for name, values in part.info.items():
                np.testing.assert_array_equal(values, same.info[name])
    other = dataset.sample("test", 4, 0, 6)
    assert not torch.equal(other.support.x, whole.support.x)


def test_rows_come_in_an_order_of_their_own(root):
    tasks = loaded(root).sample("test", 0, 0, 200, shots=2, queries=1)
    assert {tuple(y) for y in tasks.support.y.tolist()} == {
        y for y in itertools.product((0, 1), repeat=4) if sum(y) == 2
    }
    places = {tuple(row) for row in 2 * tasks.info["possible"] + tasks.query.y.numpy()}
    assert len(places) > 150  # of 6! = 720


def test_which_splits_are_ambiguous_is_a_choice(root):
    dataset = loaded(root, ambiguous=("train",))
    assert dataset.sample("train", 0, 0, 2).info["possible"].shape == (2, 12)
    assert "possible" not in dataset.sample("test", 0, 0, 2, queries=3).info


def test_what_each_split_holds_in_words(root):
    dataset = make(root)
    assert dataset.describe(dataset.read()) == [
        "train 33 attributes, 240 images",
        "val   3 attributes, 240 images",
        "test  4 attributes, 240 images",
    ]


def test_without_queries(root):
    tasks = loaded(root, queries=0).sample("train", 0, 0, 2)
    assert tasks.query.x.shape == (2, 0, 3, 4, 4)


def test_evaluation_reports_coverage(root):
    """Without sampling, a learner covers one possible task; each has the same number of queries."""
    dataset = loaded(root, image_size=8)
    torch.manual_seed(0)
    network = Conv4(dataset.input_shape, dataset.outputs, filters=4, blocks=2)
    learner = MAML(network, dataset.objective, inner_lr=0.1)
    protocol = Protocol(tasks=5, queries=2, inner_steps=2)
    scores = evaluate(learner, dataset, "test", protocol, Hardware("cpu", task_chunk=2)).by_task
    assert scores["coverage"].tolist() == [[1.0] * 5] * 3
    np.testing.assert_allclose(scores["average_nll"], scores["loss"], rtol=1e-5)
    tasks = dataset.sample("test", 0, 0, 5, shots=3, queries=2)
    outputs = learner.predict(learner.adapt(tasks.support, 2), tasks.query.x).squeeze(1)
    for task in range(5):
        own = [tasks.info["possible"][task] == number for number in range(3)]
        y, out = tasks.query.y[task], outputs[task].detach()
        losses = [torch.nn.functional.cross_entropy(out[mask], y[mask]) for mask in own]
        best = own[int(torch.stack(losses).argmin())]
        accuracy = (out[best].argmax(-1) == y[best]).float().mean()
        assert scores["assigned_accuracy"][2, task] == pytest.approx(float(accuracy))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test_attributes": ("Yuong", *TEST)}, r"test_attributes=Yuong: .*did you mean 'Young'"),
        ({"val_attributes": ("Young", "Male")}, "val_attributes=.*: accepted is 3 attributes or m"),
        ({"val_attributes": (*VAL, "Bald")}, "test_attributes=.*: accepted is attributes not in v"),
        ({"val_attributes": (*VAL, "Male")}, "val_attributes=.*: accepted is each attribute once"),
        ({"ambiguous": ("tets",)}, r"ambiguous=tets: accepted is train, val, test .*'test'"),
        ({"third": "gone"}, "third=gone: accepted is absent, free"),
        ({"image_size": 0}, "image_size=0: accepted is 1 to 218 pixels"),
        ({"resize": "lancos"}, r"did you mean 'lanczos'\?"),
        ({"shots": 0}, "shots=0: accepted is 1 or more"),
    ],
)
def test_wrong_options(root, options, message):
    with pytest.raises(BadValue, match=message):
        make(root, **options)


def test_all_remaining_images_are_no_query_set(root):
    with pytest.raises(BadValue, match="queries=remaining: accepted is a number"):
        loaded(root).remaining("test", 5)


def test_nothing_there(tmp_path):
    dataset = make(tmp_path)
    assert not dataset.available
    wanted = "img_align_celeba (folder or zip) and list_attr_celeba.txt"
    with pytest.raises(UserError, match=rf"CelebA is missing or incomplete; .*{re.escape(wanted)}"):
        dataset.read()


def spoil(root, tmp_path, change):
    """The same data, with the table changed."""
    folder = tmp_path / "celeba"
    folder.mkdir()
    (folder / "img_align_celeba").symlink_to(root / "celeba" / "img_align_celeba")
    table = root / "celeba" / "list_attr_celeba.txt"
    (folder / table.name).write_text(change(table.read_text()))
    return make(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text[: text.index("000200.jpg")],
            "not CelebA's official file .199 rows, but its first line says 240",
        ),
        (lambda text: text.replace("Bald", "Bold"), "official file .*Bald"),
        (lambda text: text.replace(" 1 ", " 2 ", 1), "neither -1 nor 1"),
        (lambda text: "", "not CelebA's official file"),
        (
            lambda text: text.replace("000007.jpg", "000777.jpg"),
            "img_align_celeba: lacks 000777.jpg, which list_attr_celeba.txt lists",
        ),
    ],
)
def test_a_broken_table(root, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        spoil(root, tmp_path, change).read()
