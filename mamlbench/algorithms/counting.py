"""A counter that a learner's checkpoints save beside its parameters."""

from __future__ import annotations

from typing import ClassVar

from torch import nn
from typing_extensions import override


class Counting(nn.Module):
    """A learner whose `state_dict` includes a counter.

    Attributes:
        count_name: name of the attribute that holds the counter.
    """

    count_name: ClassVar[str]

    @override
    def get_extra_state(self) -> dict[str, int]:
        return {self.count_name: getattr(self, self.count_name)}

    @override
    def set_extra_state(self, state: dict[str, int]) -> None:
        setattr(self, self.count_name, state[self.count_name])
