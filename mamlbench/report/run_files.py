"""The fields of a run's `summary.json` and `config.yaml` that reports need."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Measured(BaseModel):
    """A mean over tasks and half the width of its 95% interval, as in `summary.json`."""

    model_config = ConfigDict(extra="ignore")
    mean: float | None
    ci95: float | None
    n_tasks: int = Field(ge=1)


class _Test(BaseModel):
    by_step: list[dict[str, Measured] | None] = Field(min_length=1)

    @field_validator("by_step")
    @classmethod
    def _ends_in_a_score(cls, value: list[dict[str, Measured] | None]) -> Any:
        if not value[-1]:
            raise ValueError("has no score after the last inner step")
        return value


class _Train(BaseModel):
    iterations: int
    seconds: float
    skipped: int


class _TrainedIn(BaseModel):
    algorithm: str
    dataset: str
    setting: str
    iterations: int
    seed: int | None = None
    otherwise: dict[str, Any] = {}


class Summary(BaseModel):
    """The fields of a `summary.json` that reports need; others are kept unchecked."""

    model_config = ConfigDict(extra="allow")
    metric: str
    higher_is_better: bool
    test: _Test
    diverged_tasks: int
    train: _Train
    evaluation: str
    algorithm: str
    dataset: str
    setting: str
    hash: str
    seed: int
    trained_iterations: int
    of_unfinished: bool
    device: str
    versions: dict[str, str]
    command: str
    data_sha256: str | None = None
    trained_in: _TrainedIn | None = None
    commits: str | None = None


class _Tested(BaseModel):
    model_config = ConfigDict(extra="allow")
    tasks: int | None = None
    validation_tasks: int | None = None


class _Length(BaseModel):
    model_config = ConfigDict(extra="allow")
    iterations: int


class _Hardware(BaseModel):
    model_config = ConfigDict(extra="allow")
    precision: str


class Config(BaseModel):
    """The fields of a `config.yaml` that reports need; others are kept unchecked."""

    model_config = ConfigDict(extra="allow")
    training: _Length
    algorithm: dict[str, Any]
    dataset: dict[str, Any]
    network: dict[str, Any]
    hardware: _Hardware
    warm_start: str | None
    evaluation: _Tested
    about: dict[str, Any]
