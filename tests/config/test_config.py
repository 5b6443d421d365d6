"""Building objects from configs: the constructor is the schema, and errors name the key."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import pytest
import runs
import yaml
from omegaconf import OmegaConf

from mamlbench.compose import config, experiment
from mamlbench.config.build import (
    _checked,
    build,
    construct,
    constructor_options,
    plain,
)
from mamlbench.config.config_hash import config_hash
from mamlbench.config.tree import ConfigTree
from mamlbench.errors import UserError, require


class Base:
    """Takes the options that subclasses pass on."""

    def __init__(self, size: int, rate: float = 0.5) -> None:
        require(rate >= 0, "rate", rate, "0 or more")
        self.size, self.rate = size, rate


class Child(Base):
    """Passes options on."""

    def __init__(
        self,
        widths: tuple[int, ...] | None = None,
        range_: tuple[float, int] = (0.0, 1),
        **options,
    ) -> None:
        super().__init__(**options)
        self.widths = widths


class Alone(Base):
    """Passes no options on."""

    def __init__(self, name: str = "x") -> None:
        super().__init__(1)
        self.name = name


def node(cls: type, **values):
    return {"_target_": f"{__name__}.{cls.__name__}", **values}


class Typed:
    """Names in an annotation what only a type checker imports."""

    def __init__(self, network: nn.Module) -> None: ...  # noqa: F821


def test_annotations_that_only_type_checkers_know():
    with pytest.raises(UserError) as caught:
        build(node(Typed), "algorithm", network=None)
    line = inspect.getsourcelines(Typed.__init__)[1]
    assert str(caught.value) == (
        f"{__file__}, line {line}: Typed.__init__: an annotation's name 'nn' is not defined; "
        "accepted is an import that TYPE_CHECKING does not guard"
    )


def test_options_of_ancestors():
    schema, required = constructor_options(Child)
    assert list(schema) == ["widths", "range_", "size", "rate"]
    assert required == {"size"}
    assert constructor_options(Alone) == ({"name": str}, set())


def test_build():
    built = build(OmegaConf.create(node(Child, size=2, widths=[3, 4])), "network")
    assert (built.size, built.rate, built.widths) == (2, 0.5, (3, 4))


def test_context_is_no_option():
    assert build(node(Child), "network", size=7, unheard_of=1).size == 7
    with pytest.raises(
        UserError, match=r"network\.sizes: unknown to Child; accepted: widths, range_, rate"
    ):
        build(node(Child, sizes=1), "network", size=7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": "two"}, 'network.size="two": accepted is a whole number'),
        ({"size": 2.0}, "network.size=2.0: accepted is a whole number"),
        ({"size": True}, "network.size=true: accepted is a whole number"),
        ({"size": 1, "rate": "fast"}, 'network.rate="fast": accepted is a number'),
        ({"size": 1, "rate": -1}, "network.rate=-1.0: accepted is 0 or more"),
        (
            {"size": 1, "widths": [1, "b"]},
            'network.widths[1]=[1, "b"]: accepted is a list of whole',
        ),
        ({"size": 1, "range_": 3}, "network.range_=3: accepted is [number, whole number]"),
        ({"size": 1, "range_": [3.0]}, "network.range_=[3.0]: accepted is [number, whole number]"),
        ({"size": 1, "widhts": None}, "network.widhts: unknown to Child; accepted: widths, range_"),
        ({}, "network.size: Child needs a value for it"),
    ],
)
def test_mistakes(values, message):
    with pytest.raises(UserError) as caught:
        build(node(Child, **values), "network")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_lab.X", "g._target_=no_lab.X: No module named 'no_lab'; accepted is "),
        (
            f"{__name__}.Nobody",
            f"g._target_={__name__}.Nobody: module '{__name__}' has no attribute",
        ),
        ("os.path.join", "g._target_=os.path.join: accepted is the path of a class"),
        ("no path", "g._target_=no path: "),
        (3, "g._target_=3: "),
    ],
)
def test_targets(target, message):
    with pytest.raises(UserError) as caught:
        build({"_target_": target}, "g")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import no_such", "line 1: ModuleNotFoundError: No module named 'no_such'"),
        ("\nX = len.foo", "line 2: AttributeError: 'builtin_function_or_method' object has no"),
        ("x = = 1", "line 1: SyntaxError: invalid syntax"),
        ("x = y", "line 1: NameError: name 'y' is not defined"),
        ("class X:\n def __init__(self):\n  int('y')", "line 3: ValueError: invalid literal for"),
        ("class X:\n def __init__(self):\n  raise TypeError('a\\nb')", "line 3: TypeError: a"),
        ("import torch\nX = torch.nn.Linear('a', 1)", "line 2: TypeError: empty(): arg"),
    ],
)
def test_a_module_that_is_broken_is_named_with_its_own_error(
    tmp_path, monkeypatch, content, message
):
    (tmp_path / "a_lab").mkdir()
    (tmp_path / "a_lab" / "__init__.py").touch()
    file = tmp_path / "a_lab" / "broken.py"
    file.write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", {**sys.modules})
    with pytest.raises(UserError) as caught:
        build({"_target_": "a_lab.broken.X"}, "g")
    assert str(caught.value).startswith(f"g._target_=a_lab.broken.X: {file}, {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (list[int] | None, (8, 8), [8, 8]),
        (list[tuple[int, int]], ((1, 2),), [(1, 2)]),
        (set[int], (1, 2), {1, 2}),
        (dict[str, list[int]], {"a": (1,)}, {"a": [1]}),
        (Path, "/tmp", Path("/tmp")),
    ],
)
def test_annotations_of_other_kinds(hint, value, expected):
    assert _checked("key", value, hint) == expected


def test_no_target():
    with pytest.raises(UserError, match=r"^g: has no _target_; accepted is the path of a class$"):
        build({"size": 1}, "g")
    with pytest.raises(UserError, match=r"^g=3: accepted are its options, as g\.key=value$"):
        construct(Child, 3, "g")


def test_plain():
    found = plain(OmegaConf.create({"a": 1, "b": ["${a}", {"c": None}]}))
    assert found == {"a": 1, "b": (1, {"c": None})}
    with pytest.raises(UserError, match=r"^a\.b: .*not found"):
        plain(OmegaConf.create({"a": {"b": "${nope}"}}))


@pytest.fixture(scope="module")
def default():
    composed = config()
    OmegaConf.set_struct(composed, False)
    del composed["hydra"]
    return composed


@pytest.mark.parametrize(
    ("key", "value", "same"),
    [
        ("seed", 3, True),
        ("name", "other", True),
        ("outputs", "/elsewhere", True),
        ("restart", True, True),
        ("on_nan", "skip", True),
        ("logger", {}, True),
        ("hardware.threads", 1, True),
        ("hardware.task_chunk", 2, True),
        ("training.log_every", 7, True),
        ("training.checkpoint_every", 7, True),
        ("algorithm.inner_lr", 0.02, False),
        ("dataset.shots", 5, False),
        ("network.hidden", [10], False),
        ("training.iterations", 7, False),
        ("training.validate_every", 7, False),
        ("evaluation.tasks", 7, False),
        ("hardware.precision", "float64", False),
    ],
)
def test_the_hash_is_of_what_changes_the_result(default, key, value, same):
    other = default.copy()
    OmegaConf.update(other, key, value, merge=False)
    assert (config_hash(other) == config_hash(default)) is same


def test_the_hash_of_a_tested_checkpoint():
    assert config_hash({"seed": 1}, checkpoint="abc") != config_hash({"seed": 1}, checkpoint=None)


def test_an_experiment_and_its_overrides_are_one_run():
    schedule = ["training.iterations=70000", "training.validate_every=5000"]
    typed = experiment([*schedule, "evaluation.shots=5", "logger=csv"])
    assert experiment(["experiment=maml/sinusoid", "logger=csv"]).folder == typed.folder


PRESETS = [name for name in ConfigTree().choices("preset") if "learn2learn" not in name]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_preset_of_a_pair_is_picked_up_and_builds(preset, monkeypatch):
    algorithms = [a for a in ConfigTree().choices("algorithm") if preset.startswith(f"{a}_")]
    algorithm = max(algorithms, key=len)  # maml_noise, although maml matches too
    dataset = preset.removeprefix(f"{algorithm}_")
    typed = [f"algorithm={algorithm}", f"dataset={dataset}", "logger=csv"]
    runs.needing_simulator(dataset)
    if dataset == "gym":
        pytest.importorskip("gymnasium")
        monkeypatch.syspath_prepend(Path(__file__).parents[1] / "rl" / "environments")
        typed += ["dataset.environment=tiny_env.Line", "dataset.workers=0"]
    run = experiment(typed)
    assert run.config["training"] == typed_training(preset)


@pytest.mark.parametrize(
    ("algorithm", "dataset", "steps"),
    [
        ("reptile", "sinusoid", 32),
        ("maml", "harmonic_sinusoid", None),
        ("meta_sgd", "embeddings", None),
        ("leo", "sine_line", None),
        ("bmaml", "navigation2d", 1),
        ("emaml", "navigation2d", 1),
    ],
)
def test_the_standard_protocol_is_the_same_for_all(algorithm, dataset, steps):
    """These pairs have their own protocol, of which `standard` keeps only the inner steps."""
    typed = [f"algorithm={algorithm}", f"dataset={dataset}", "evaluation=standard"]
    root = ConfigTree().roots[0]
    standard = yaml.safe_load((root / "evaluation" / "standard.yaml").read_text())
    assert plain(config(typed).evaluation) == {**standard, "inner_steps": steps}
    assert config([*typed, "evaluation.tasks=7"]).evaluation.tasks == 7


def typed_training(preset: str):
    """The default training options, updated by the preset's file and the presets it builds on."""
    root = ConfigTree().roots[0]
    found: dict = {}
    names = [preset]
    while names:
        content = yaml.safe_load((root / "preset" / f"{names.pop()}.yaml").read_text())
        found = {**(content.get("training") or {}), **found}
        names += [entry for entry in content.get("defaults", []) if entry != "_self_"]
    default = yaml.safe_load((root / "config.yaml").read_text())["training"]
    return {**default, **found}
