"""Which runs are seeds of one setting, and how the settings of a folder are named."""

import kept
import pytest

from mamlbench.report.entries import entries_of_folder, labels
from mamlbench.report.runs import read_run


@pytest.fixture
def entries(tmp_path, sinusoid):
    """`entries(run, ...)`: groups of runs with seeds 0, 1, ..., each given as (config, summary)."""

    def made(*runs):
        found = []
        for seed, (config, summary) in enumerate(runs):
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            found.append(read_run(kept.keep(folder, config, **{"seed": seed, **summary})))
        return entries_of_folder(found)

    return made


def seeds(entries):
    return [[run.seed for run in entry.runs] for entry in entries]


def test_another_precision_is_no_other_seed(entries, sinusoid):
    found = entries((sinusoid(), {}), (sinusoid(hardware__precision="bf16"), {}))
    assert seeds(found) == [[0], [1]]
    assert labels(found) == ["maml precision=float32", "maml precision=bf16"]


def test_other_data_are_no_other_seed(entries, sinusoid):
    hashes = ("a" * 64, "b" * 64, "a" * 64)
    found = entries(*((sinusoid(), {"data_sha256": name}) for name in hashes))
    assert seeds(found) == [[0, 2], [1]]
    assert labels(found) == ["maml data_sha256=aaaaaaaaaaaa", "maml data_sha256=bbbbbbbbbbbb"]


def test_data_in_another_place_are_no_other_seed_unless_a_hash_says_they_are_the_same(
    entries, sinusoid
):
    places = sinusoid(dataset__root="here"), sinusoid(dataset__root="there")
    found = entries(*((config, {}) for config in places))
    assert seeds(found) == [[0], [1]]
    assert labels(found) == ["maml root=here", "maml root=there"]
    hashed = entries(*((config, {"data_sha256": "a" * 64}) for config in places))
    assert seeds(hashed) == [[0, 1]]


def test_a_checkpoint_of_other_training_is_no_other_seed(entries, sinusoid):
    """Reports of such a folder once ended with a traceback."""
    made = {"algorithm": "maml", "dataset": "sinusoid", "setting": "5shot", "iterations": 70_000}
    config = {**sinusoid(), "checkpoint": "outputs/elsewhere"}
    known = {"trained_iterations": 70_000, "of_unfinished": False}
    found = entries((config, known), (config, {**known, "trained_in": made}))
    assert seeds(found) == [[0], [1]]
    assert labels(found) == ["maml trained_on=null", "maml trained_on=maml sinusoid 5shot"]


def test_seeds_from_before_a_new_option(entries, sinusoid):
    """A missing option counts as its class's default."""
    older, other = sinusoid(), sinusoid(algorithm__adapt_norm=True)
    assert older["algorithm"].pop("adapt_norm") is False
    found = entries((older, {}), (sinusoid(), {}), (other, {}))
    assert seeds(found) == [[0, 1], [2]]
    assert labels(found) == ["maml adapt_norm=false", "maml adapt_norm=true"]


def test_another_mujoco_is_no_other_seed(entries, sinusoid):
    config = sinusoid(dataset__frame_skip=1)
    versions = ({"mujoco": "3.3.0"}, {"mujoco": "4.0.0"}, {"mujoco": "4.0.0"})
    found = entries(*((config, {"versions": each}) for each in versions))
    assert seeds(found) == [[0], [1, 2]]
    assert labels(found) == ["maml mujoco=3.3.0", "maml mujoco=4.0.0"]
    plain = entries(*((sinusoid(), {"versions": each}) for each in versions))
    assert seeds(plain) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("places", "together"),
    [
        (("outputs/a/seed0", "outputs/a/seed1"), True),
        (("outputs/a/seed0", "outputs/a/seed0"), True),
        (("outputs/a/seed0/best.pt", "outputs/a/seed11/best.pt"), True),
        (("outputs/a/seed0", "outputs/b/seed0"), False),
        (("outputs/a/seed0", None), False),
        (("outputs/a/seed0/best.pt", "outputs/a/seed0/checkpoint.pt"), False),
        (("outputs/seed1_a", "outputs/seed2_a"), False),
    ],
)
def test_another_warm_start_is_no_other_seed(entries, sinusoid, places, together):
    """But seeds may start from the seeds of another setting."""
    found = entries(*(({**sinusoid(), "warm_start": place}, {}) for place in places))
    assert seeds(found) == ([[0, 1]] if together else [[0], [1]])
    names = ["maml"] if together else [f"maml warm_start={place or 'null'}" for place in places]
    assert labels(found) == names


def test_what_is_of_a_setting_beside_its_config_is_shown_beside_any_options(entries, sinusoid):
    other = sinusoid(
        algorithm__inner_lr=0.5,
        algorithm__inner_steps=7,
        algorithm__outer_lr=0.5,
        algorithm__adapt_norm=True,
        network__hidden=[7],
        hardware__precision="bf16",
    )
    found = labels(entries((sinusoid(), {}), (other, {})))
    assert all(name.endswith(" and 1 more") for name in found)
    assert [name.split()[-4] for name in found] == ["precision=float32", "precision=bf16"]


def test_one_learner_tested_twice_has_two_names(entries, sinusoid):
    """Even if another entry differs from both in as many options as a name shows."""
    far = {f"algorithm__{name}": 7 for name in ("inner_lr", "inner_steps", "outer_lr")}
    far = sinusoid(**far, algorithm__adapt_norm=True, evaluation__shots=7)
    tested = [sinusoid(evaluation__transductive=value) for value in (True, False)]
    found = labels(entries(*((config, {}) for config in (*tested, far))))
    assert len(set(found)) == 3
    assert found[0].endswith(" and 2 more, transductive=true")
    assert found[1].endswith(" and 2 more, transductive=false")


def test_seeds_that_lost_patience_at_different_steps(entries, sinusoid):
    def run(iterations, **summary):
        return {"train": {"iterations": iterations, "seconds": 1.0}, **summary}

    config = sinusoid(training__patience=3, evaluation__select="best")
    (found,) = entries((config, run(16_000)), (config, run(10_000)))
    assert found.iterations == "10,000–16,000"
    # without patience, a shorter run is another result
    assert seeds(entries((sinusoid(), run(16_000)), (sinusoid(), run(10_000)))) == [[0], [1]]
    # and with patience, so is a run that was interrupted
    tested = {**config, "checkpoint": "outputs/elsewhere"}
    known = {"trained_iterations": 500, "of_unfinished": True}
    found = entries((tested, run(0, **known)), (tested, run(0, trained_iterations=700)))
    assert [entry.iterations for entry in found] == ["500", "not recorded"]


def test_what_learned_nothing_says_so(entries, sinusoid):
    untrained = sinusoid(training__iterations=0)
    found = entries((sinusoid(), {}), (untrained, {"train": {"iterations": 0, "seconds": 0.0}}))
    assert labels(found) == ["maml", "untrained maml"]


def test_equal_names_are_told_apart(entries, sinusoid):
    """By their length, or if that is equal by their test tasks, or else by their code."""
    changed = sinusoid(algorithm__inner_lr=0.5)
    found = entries(
        (changed, {}),
        (sinusoid(training__iterations=200), {}),
        (sinusoid(training__iterations=100), {}),
    )
    assert labels(found) == [
        "maml inner_lr=0.5",
        "maml inner_lr=0.01, 200 iterations",
        "maml inner_lr=0.01, 100 iterations",
    ]
    found = entries((sinusoid(), {}), (sinusoid(evaluation__tasks=3), {}))
    assert labels(found) == ["maml, 4 test tasks", "maml, 3 test tasks"]
    found = entries((sinusoid(), {}), (sinusoid(evaluation__tasks=None), {}))
    assert labels(found) == ["maml, 4 test tasks", "maml, test tasks not recorded"]
    found = entries((sinusoid(), {"seed": 0}), (sinusoid(), {"seed": 0, "commit": None}))
    assert labels(found) == ["maml, commit 1234567", "maml, version 0.1.0"]
    found = entries((sinusoid(), {}), (sinusoid(evaluation__shots=None), {}))
    assert labels(found) == ["maml tested with shots=5", "maml tested with shots=10"]
    own = sinusoid(training__patience=3, evaluation__select="best")
    tested = {**own, "checkpoint": "outputs/elsewhere"}
    found = entries((own, {}), (tested, {"train": {"iterations": 0, "seconds": 0.0}}))
    assert labels(found) == ["maml, 70,000 iterations", "maml, iterations not recorded"]
