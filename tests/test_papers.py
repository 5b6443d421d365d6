"""Two words on the command line give what a paper, or its official code, has for that pair."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from mamlbench.compose import config

ADAM = {"algorithm.outer_optimizer": "adam", "algorithm.outer_lr": 0.001}
MAML_TEST = {"evaluation.tasks": 600, "evaluation.queries": "shots", "evaluation.select": "last"}
REPTILE = {
    "algorithm.inner_optimizer": "adam",
    "algorithm.inner_lr": 0.001,
    "algorithm.inner_batch": 10,
    "algorithm.test_batch": 5,
    "algorithm.adapt_norm": True,
    "algorithm.outer_optimizer": "sgd",
    "algorithm.outer_schedule": "linear",
    "algorithm.outer_lr": 1.0,
    "algorithm.outer_lr_final": 0.0,
    "dataset.ways": 5,
    "dataset.shots": 1,
    "training.iterations": 100_000,
    "training.meta_batch_size": 5,
    "evaluation.inner_steps": 50,
    "evaluation.tasks": 10_000,
    "evaluation.queries": 1,
    "network.affine": "scale_shift",
    "network.spatial_mean": False,
}
HARMONIC = {
    "dataset.finite": 100,
    "dataset.shots": 5,
    "dataset.queries": 5,
    "dataset.frequency": [0.5, 2.0],
    "dataset.phase": [0.0, 2.0],
    "dataset.noise_ratio": 0.01,
    "network.hidden": [40, 40, 40],
    "algorithm.inner_lr": 0.001,
    "algorithm.inner_steps": 1,
    "algorithm.outer_lr": 0.001,
    "algorithm.outer_lr_final": pytest.approx(0.001 * 0.98**100, rel=1e-3),
    "training.iterations": 100_000,
    "training.meta_batch_size": 10,
    "evaluation.tasks": 100,
}

PAIRS: dict[tuple[str, ...], dict[str, object]] = {
    ("experiment=maml/sinusoid",): {
        "algorithm.inner_lr": 0.01,
        "algorithm.inner_steps": 1,
        "dataset.shots": 10,
        "dataset.queries": 10,
        "dataset.phase": [0.0, 1.0],
        "network.hidden": [40, 40],
        "network.init": "truncated_normal",
        "network.norm": "none",
        "training.meta_batch_size": 25,
        "training.iterations": 70_000,
        "evaluation.shots": 5,
        "evaluation.inner_steps": 10,
        **ADAM,
        **MAML_TEST,
    },
    ("algorithm=maml", "dataset=omniglot"): {
        "algorithm.inner_lr": pytest.approx(0.4 * 5),  # the code's loss is summed over the classes
        "algorithm.inner_steps": 1,
        "algorithm.adapt_norm": False,
        "dataset.ways": 5,
        "dataset.shots": 1,
        "dataset.queries": 1,
        "dataset.split": "maml",
        "dataset.rotations": "per_task",
        "dataset.rotate_test": True,
        "dataset.invert": True,
        "network.filters": 64,
        "network.down": "stride",
        "network.spatial_mean": True,
        "network.norm": "batch",
        "network.affine": "shift",
        "network.head_init": "normal",
        "training.iterations": 60_000,
        "training.meta_batch_size": 32,
        "evaluation.inner_steps": 3,
        "evaluation.transductive": True,
        **ADAM,
        **MAML_TEST,
    },
    ("algorithm=maml", "dataset=omniglot", "network=mlp"): {
        "network.hidden": [256, 128, 64, 64],
        "network.norm": "batch",
        "network.init": "truncated_normal",
    },
    ("algorithm=fomaml", "dataset=mini_imagenet"): {
        "algorithm.first_order": True,
        "algorithm.inner_lr": pytest.approx(0.01 * 5),
        "algorithm.inner_steps": 5,
        # 10, on a loss summed over 75 queries and divided by K = 1
        "algorithm.clip": pytest.approx(10 / 75, rel=0.03),
        "dataset.queries": 15,
        "dataset.mean": None,
        "network.filters": 32,
        "network.down": "pool",
        "network.spatial_mean": False,
        "network.affine": "shift",
        "training.iterations": 60_000,
        "training.meta_batch_size": 4,
        "evaluation.inner_steps": 10,
        **ADAM,
        **MAML_TEST,
    },
    ("algorithm=reptile", "dataset=omniglot"): {
        **REPTILE,
        "algorithm.inner_steps": 5,
        "dataset.train_shots": 10,
        "dataset.split": "reptile",
        "dataset.rotations": "classes",
        "dataset.rotate_test": False,
        "dataset.invert": False,
        "network.filters": 64,
        "network.down": "stride",
    },
    ("algorithm=reptile", "dataset=mini_imagenet"): {
        **REPTILE,
        "algorithm.inner_steps": 8,
        "dataset.train_shots": 15,
        "network.filters": 32,
        "network.down": "pool_same",
        "network.order": "norm_pool_activation",
    },
    ("algorithm=mamlpp", "dataset=omniglot"): {
        "algorithm.inner_lr": 0.1,  # its loss is a mean
        "algorithm.inner_steps": 5,
        "algorithm.outer_schedule": "cosine",
        "algorithm.outer_lr_final": 1e-5,
        "dataset.ways": 20,
        "dataset.queries": 1,
        "dataset.split": "mamlpp",
        "dataset.rotations": "per_task",
        "dataset.rotate_test": False,
        "dataset.invert": False,
        "network.activation": "leaky_relu",
        "network.down": "pool",
        "training.meta_batch_size": 16,
        "evaluation.select": "top5",
        **ADAM,
    },
    ("algorithm=bmaml", "dataset=harmonic_sinusoid"): {
        **HARMONIC,
        "algorithm.particles": 10,
        "algorithm.meta_loss": "chaser",
        "algorithm.leader_steps": 1,
        "algorithm.bandwidth": "org",
        "algorithm.exact_repulsion": False,
        "algorithm.noise_variance": 0.01,
        "algorithm.weight_variance": 1.0,
        "algorithm.noise_prior": [2.0, 0.2],
        "algorithm.weight_prior": [2.0, 2.0],
    },
    ("algorithm=emaml", "dataset=harmonic_sinusoid"): {**HARMONIC, "algorithm.particles": 10},
    ("algorithm=platipus", "dataset=sine_line"): {
        "algorithm.inner_steps": 5,
        "algorithm.inner_lr": 0.001,
        "dataset.shots": 5,
        "dataset.noise_std": 0.3,
        "dataset.slope": [-3.0, 3.0],
        "network.hidden": [100, 100, 100],
        "training.meta_batch_size": 25,
        **ADAM,
    },
    ("experiment=leo/mini_5shot",): {
        "algorithm.inner_loss": "sum",
        "algorithm.inner_lr": 1.0,
        "algorithm.finetune_lr": 0.001,
        "algorithm.latent_size": 64,
        "algorithm.latent_steps": 5,
        "algorithm.inner_steps": 10,
        "algorithm.outer_lr": 4.102361e-4,
        "algorithm.l2": 8.540338e-9,
        "algorithm.orthogonality": 1.523998e-3,
        "algorithm.dropout": 0.300299,
        "algorithm.kl_weight": 0.466387,
        "algorithm.encoder_penalty": 2.661608e-7,
        "algorithm.clip": 0.1,
        "algorithm.clip_norm": 0.1,
        "dataset.shots": 5,
        "dataset.queries": 15,
        "dataset.width": 640,
        "dataset.normalise": True,
        "training.iterations": 100_000,
        "training.meta_batch_size": 12,
        "evaluation.tasks": 10_000,
        "evaluation.queries": "remaining",
    },
}


@pytest.mark.parametrize(("typed", "expected"), PAIRS.items(), ids=map(" ".join, PAIRS))
def test_settings(typed: tuple[str, ...], expected: dict[str, object]) -> None:
    composed = config(typed)
    found = {}
    for key in expected:
        value = OmegaConf.select(composed, key, throw_on_missing=True)
        found[key] = OmegaConf.to_container(value) if OmegaConf.is_list(value) else value
    assert found == expected
