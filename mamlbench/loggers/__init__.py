"""Loggers of a run's metrics: the terminal, metrics.csv, W&B and TensorBoard."""

from mamlbench.loggers.base import Logger, Loggers, RunInfo
from mamlbench.loggers.console import ConsoleProgress
from mamlbench.loggers.csv_logger import CSVLogger
from mamlbench.loggers.tensorboard_logger import TensorBoardLogger
from mamlbench.loggers.wandb_logger import WandBLogger

__all__ = [
    "CSVLogger",
    "ConsoleProgress",
    "Logger",
    "Loggers",
    "RunInfo",
    "TensorBoardLogger",
    "WandBLogger",
]
