import pytest
from hydra import compose, initialize_config_module

from mamlbench.config.build import build
from mamlbench.errors import UserError
from mamlbench.loggers import CSVLogger, TensorBoardLogger, WandBLogger

CLASSES = {"csv": CSVLogger, "wandb": WandBLogger, "tensorboard": TensorBoardLogger}


def composed(choice, *overrides):
    with initialize_config_module("mamlbench.conf", version_base="1.3"):
        return compose("config", [f"logger={choice}", *overrides]).logger


@pytest.mark.parametrize(
    ("choice", "names"),
    [
        ("csv", ["csv"]),
        ("wandb", ["wandb"]),
        ("tensorboard", ["tensorboard"]),
        ("[csv,wandb,tensorboard]", ["csv", "wandb", "tensorboard"]),
    ],
)
def test_a_logger_or_a_list_of_them(choice, names):
    nodes = composed(choice)
    assert list(nodes) == names
    for name, node in nodes.items():
        assert type(build(node, f"logger.{name}")) is CLASSES[name]


def test_a_wrong_option_is_named_as_it_is_typed():
    node = composed("wandb", "logger.wandb.mode=onlin").wandb
    with pytest.raises(UserError, match=r"logger\.wandb\.mode=onlin: accepted is auto, online"):
        build(node, "logger.wandb")
