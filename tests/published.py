"""Published values that were checked against a copy of their source, for the tests of the tables.

Each table has its source, its columns, and a line for each row; `-`: the source has no number.
"""

from __future__ import annotations

PUBLISHED: dict[str, tuple[str, str, str]] = {
    "maml_omniglot": (
        "arXiv 1703.03400, Table 1; context vector: its Table 3; learn2learn: its README",
        "5-way 1-shot | 5-way 5-shot | 20-way 1-shot | 20-way 5-shot",
        """
        MANN, no convolutions | 82.8 | 94.9 | - | -
        MAML, no convolutions | 89.7 ± 1.1 | 97.5 ± 0.6 | - | -
        Siamese nets | 97.3 | 98.4 | 88.2 | 97.0
        Matching nets | 98.1 | 98.9 | 93.8 | 98.5
        Neural statistician | 98.1 | 99.5 | 93.2 | 98.1
        Memory module | 98.4 | 99.6 | 95.0 | 98.6
        MAML | 98.7 ± 0.4 | 99.9 ± 0.1 | 95.8 ± 0.3 | 98.9 ± 0.2
        Context vector | 94.9 ± 0.9 | 97.7 ± 0.3 | - | -
        MAML, no convolutions (learn2learn) | 88.9 | - | - | -
        MAML (learn2learn) | 99.1 | - | - | -
        """,
    ),
    "maml_mini_imagenet": (
        "arXiv 1703.03400, Table 1; learn2learn: its README",
        "1-shot | 5-shot",
        """
        Fine-tuning | 28.86 ± 0.54 | 49.79 ± 0.79
        Nearest neighbour | 41.08 ± 0.70 | 51.04 ± 0.65
        Matching nets | 43.56 ± 0.84 | 55.31 ± 0.73
        Meta-learner LSTM | 43.44 ± 0.77 | 60.60 ± 0.71
        MAML, first order | 48.07 ± 1.75 | 63.15 ± 0.91
        MAML | 48.70 ± 1.84 | 63.11 ± 0.92
        MAML (learn2learn) | 48.3 | 65.4
        """,
    ),
    "maml_sinusoid": (
        "arXiv 1703.03400, Table 2",
        "1 | 5 | 10",
        """
        Multi-task, 500 nets averaged | 4.19 | 3.85 | 3.69
        Multi-task, l2 regularisation | 7.18 | 5.69 | 5.60
        Multi-task, towards the mean of parameters | 2.91 | 2.72 | 2.71
        Pretrained on all tasks | 2.41 | 2.23 | 2.19
        MAML | 0.67 | 0.38 | 0.35
        """,
    ),
    "bmaml_navigation2d": (
        "jsikyoon/bmaml_rl at c539de8, data/local/*/progress.csv: the last row, the mean over "
        "tasks of the best particle after one step; by seed -9.52, -11.16, -10.82; -10.91, -12.61, "
        "-13.22; -9.13, -11.23, -12.48; -30.96, -36.49, -36.55; of the first particle of VPG with "
        "TRPO -11.23, -12.56, -13.94",
        "all",
        """
        SVPG with TRPO | -10.50 ± 0.86
        SVPG with chaser | -12.25 ± 1.20
        VPG with TRPO | -10.95 ± 1.69
        VPG with Reptile | -34.67 ± 3.21
        MAML with TRPO | -12.58 ± 1.36
        """,
    ),
    "maml_navigation2d": (
        "arXiv 1703.03400, Figure 4 and Table 4; cbfinn/maml_rl, icml/*.pkl",
        "0 | 1 | 2 | 3 | 4",
        """
        MAML | -40.41 ± 4.01 | -11.68 ± 2.16 | -3.33 ± 0.55 | -3.23 ± 0.58 | -3.35
        Pretrained | -40.81 ± 4.04 | -19.73 ± 2.99 | -11.72 ± 1.64 | -8.47 ± 0.53 | -7.49
        Random policy | -82.66 ± 2.16 | -57.96 ± 1.84 | -53.84 ± 1.62 | -46.81 ± 1.28 | -42.91
        Oracle | -2.29 ± 0.14 | - | - | - | -
        Context vector | -42.42 | -13.90 | -5.17 | -3.18 | -
        """,
    ),
    "maml_half_cheetah_vel": (
        "arXiv 1703.03400, Figure 5 and Table 5; cbfinn/maml_rl, icml/*.pkl",
        "0 | 1 | 2 | 3",
        """
        MAML | -129.53 ± 16.54 | -78.57 ± 9.85 | -66.62 ± 8.94 | -60.78 ± 8.62
        Pretrained | -158.00 ± 17.35 | -135.39 ± 15.05 | -128.47 ± 13.98 | -133.61 ± 16.44
        Random policy | -254.83 ± 35.71 | -254.33 ± 34.64 | -246.79 ± 35.36 | -230.83 ± 34.17
        Oracle | -54.47 ± 6.93 | - | - | -
        """,
    ),
    "maml_half_cheetah_dir": (
        "arXiv 1703.03400, Figure 5 and Table 5; cbfinn/maml_rl, icml/*.pkl",
        "0 | 1 | 2 | 3",
        """
        MAML | -50.69 ± 5.74 | 293.19 ± 17.01 | 313.48 ± 15.77 | 315.65 ± 13.85
        Pretrained | -43.03 ± 11.61 | -24.75 ± 9.31 | -12.85 ± 8.55 | 19.57 ± 11.22
        Random policy | -35.73 ± 1.27 | 21.83 ± 2.90 | 62.32 ± 5.03 | 86.18 ± 9.73
        Oracle | 442.69 ± 8.38 | - | - | -
        Context vector | -40.49 | -44.08 | -38.27 | -42.50
        """,
    ),
    "maml_ant_vel": (
        "arXiv 1703.03400, Figure 5 and Table 5; cbfinn/maml_rl, icml/*.pkl",
        "0 | 1 | 2 | 3",
        """
        MAML | 30.58 ± 30.03 | 96.74 ± 20.74 | 100.06 ± 21.46 | 101.41 ± 21.04
        Pretrained | -1.83 ± 34.19 | 6.11 ± 34.36 | 8.47 ± 34.45 | 9.47 ± 36.52
        Random policy | -78.64 ± 34.39 | -62.81 ± 34.72 | -48.55 ± 34.08 | -35.56 ± 29.89
        Oracle | 107.89 ± 19.97 | - | - | -
        """,
    ),
    "maml_ant_dir": (
        "arXiv 1703.03400, Figure 5 and Table 5; cbfinn/maml_rl, icml/*.pkl",
        "0 | 1 | 2 | 3",
        """
        MAML | 8.66 ± 14.21 | 499.15 ± 32.10 | 500.68 ± 31.54 | 499.11 ± 32.53
        MAML, 20 episodes | 12.91 ± 46.81 | 434.36 ± 22.84 | 425.63 ± 26.15 | 411.75 ± 23.85
        Pretrained | 3.16 ± 15.21 | 1.27 ± 13.53 | 6.51 ± 13.77 | 6.86 ± 11.69
        Random policy | 3.11 ± 4.07 | 9.25 ± 4.36 | 15.96 ± 3.50 | 26.11 ± 0.11
        Oracle | 524.80 ± 12.40 | - | - | -
        """,
    ),
    "reptile_omniglot": (
        "arXiv 1803.02999, Table 1; learn2learn: its README",
        "5-way 1-shot | 5-way 5-shot | 20-way 1-shot | 20-way 5-shot",
        """
        MAML, transductive | 98.7 ± 0.4 | 99.9 ± 0.1 | 95.8 ± 0.3 | 98.9 ± 0.2
        First-order MAML, transductive | 98.3 ± 0.5 | 99.2 ± 0.2 | 89.4 ± 0.5 | 97.9 ± 0.1
        Reptile | 95.39 ± 0.09 | 98.90 ± 0.10 | 88.14 ± 0.15 | 96.65 ± 0.33
        Reptile, transductive | 97.68 ± 0.04 | 99.48 ± 0.06 | 89.43 ± 0.14 | 97.12 ± 0.32
        Reptile, transductive (learn2learn) | - | 99.5 | - | -
        """,
    ),
    "reptile_mini_imagenet": (
        "arXiv 1803.02999, Table 2; learn2learn: its README",
        "1-shot | 5-shot",
        """
        MAML, transductive | 48.70 ± 1.84 | 63.11 ± 0.92
        First-order MAML, transductive | 48.07 ± 1.75 | 63.15 ± 0.91
        Reptile | 47.07 ± 0.26 | 62.74 ± 0.37
        Reptile, transductive | 49.97 ± 0.32 | 65.99 ± 0.58
        Reptile, transductive (learn2learn) | - | 65.5
        """,
    ),
    "platipus_mini_imagenet": (
        "arXiv 1807.05960, Table 1, which quotes arXiv 1806.02817; Meta-SGD: later papers",
        "1-shot",
        """
        MAML | 48.70 ± 1.84
        LLAMA | 49.40 ± 1.83
        Reptile | 49.97 ± 0.32
        PLATIPUS | 50.13 ± 1.86
        Meta-SGD | 50.47 ± 1.87
        Matching nets | 43.56 ± 0.84
        Meta-learner LSTM | 43.44 ± 0.77
        """,
    ),
    "leo_mini_imagenet": (
        "arXiv 1807.05960, Table 1; google-deepmind/leo, README",
        "1-shot | 5-shot",
        """
        Matching nets | 43.56 ± 0.84 | 55.31 ± 0.73
        Meta-learner LSTM | 43.44 ± 0.77 | 60.60 ± 0.71
        MAML | 48.70 ± 1.84 | 63.11 ± 0.92
        LLAMA | 49.40 ± 1.83 | -
        Reptile | 49.97 ± 0.32 | 65.99 ± 0.58
        PLATIPUS | 50.13 ± 1.86 | -
        Meta-SGD, LEO's features | 54.24 ± 0.03 | 70.86 ± 0.04
        SNAIL | 55.71 ± 0.99 | 68.88 ± 0.92
        Gidaris and Komodakis | 56.20 ± 0.86 | 73.00 ± 0.64
        Bauer et al. | 56.30 ± 0.40 | 73.90 ± 0.30
        Munkhdalai et al. | 57.10 ± 0.70 | 70.04 ± 0.63
        DEML with Meta-SGD | 58.49 ± 0.91 | 71.28 ± 0.69
        TADAM | 58.50 ± 0.30 | 76.70 ± 0.30
        Qiao et al. | 59.60 ± 0.41 | 73.74 ± 0.19
        LEO | 61.76 ± 0.08 | 77.59 ± 0.12
        LEO, multi-view features | 63.97 ± 0.20 | 79.49 ± 0.70
        LEO, released code | 61.89 ± 0.16 | 77.65 ± 0.09
        """,
    ),
    "leo_tiered_imagenet": (
        "arXiv 1807.05960, Table 1; google-deepmind/leo, README",
        "1-shot | 5-shot",
        """
        MAML, deeper net (Liu et al.) | 51.67 ± 1.81 | 70.30 ± 0.08
        Prototypical nets | 53.31 ± 0.89 | 72.69 ± 0.74
        Relation net | 54.48 ± 0.93 | 71.32 ± 0.78
        Transductive propagation nets | 57.41 ± 0.94 | 71.55 ± 0.74
        Meta-SGD, LEO's features | 62.95 ± 0.03 | 79.34 ± 0.06
        LEO | 66.33 ± 0.05 | 81.44 ± 0.09
        LEO, released code | 66.25 ± 0.14 | 81.77 ± 0.09
        """,
    ),
    "leo_ablations_mini": (
        "arXiv 1807.05960, Table 2",
        "1-shot | 5-shot",
        """
        Meta-SGD, LEO's features | 54.24 ± 0.03 | 70.86 ± 0.04
        Conditional generator only | 60.33 ± 0.11 | 74.53 ± 0.11
        Conditional generator, fine-tuning | 60.62 ± 0.31 | 76.42 ± 0.09
        Previous best | 59.60 ± 0.41 | 76.70 ± 0.30
        LEO, random prior | 61.01 ± 0.12 | 77.27 ± 0.05
        LEO, deterministic | 61.48 ± 0.05 | 76.53 ± 0.24
        LEO, no fine-tuning | 61.62 ± 0.15 | 77.46 ± 0.12
        LEO | 61.76 ± 0.08 | 77.59 ± 0.12
        """,
    ),
    "leo_ablations_tiered": (
        "arXiv 1807.05960, Table 2",
        "1-shot | 5-shot",
        """
        Meta-SGD, LEO's features | 62.95 ± 0.03 | 79.34 ± 0.06
        Conditional generator only | 65.17 ± 0.15 | 78.77 ± 0.03
        Conditional generator, fine-tuning | 65.74 ± 0.28 | 80.65 ± 0.07
        Previous best | 57.41 ± 0.94 | 72.69 ± 0.74
        LEO, random prior | 65.39 ± 0.10 | 80.83 ± 0.13
        LEO, deterministic | 66.18 ± 0.17 | 82.06 ± 0.08
        LEO, no fine-tuning | 66.14 ± 0.17 | 80.89 ± 0.11
        LEO | 66.33 ± 0.05 | 81.44 ± 0.09
        """,
    ),
    "mamlpp_omniglot": (
        "arXiv 1810.09502, Table 1, in public lists; baselines: arXiv 1703.03400, Table "
        "1; released code: issue 20 of its repository",
        "1-shot | 5-shot",
        """
        Siamese nets | 88.2 | 97.0
        Matching nets | 93.8 | 98.5
        Neural statistician | 93.2 | 98.1
        Memory module | 95.0 | 98.6
        MAML, original | 95.8 ± 0.3 | 98.9 ± 0.2
        MAML++ | 97.65 | 99.33
        MAML++, released code | 96.65 ± 0.0587 | -
        """,
    ),
    "mamlpp_omniglot_5way": (
        "arXiv 1810.09502, in public lists",
        "1-shot | 5-shot",
        """
        MAML++ | 99.47 | 99.85
        """,
    ),
    "mamlpp_mini_imagenet": (
        "arXiv 1810.09502, Table 2, as later papers quote it; MAML: arXiv 1703.03400, Table 1",
        "1-shot | 5-shot",
        """
        MAML, original | 48.70 ± 1.84 | 63.11 ± 0.92
        MAML++, 5 steps | 52.15 ± 0.26 | 68.32 ± 0.44
        MAML++, an earlier version | 52.40 | 67.15
        """,
    ),
}
