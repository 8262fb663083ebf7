"""AdamW with its state in eight bits (Dettmers et al., arXiv:2110.02861), by bitsandbytes."""

from __future__ import annotations

from typing import Any

import torch
from bitsandbytes.optim import AdamW8bit
from torch.optim import Optimizer


class Adam8bit(AdamW8bit):
    """Its state is tensors by name, as checkpoints hold them; weights below 4,096 values keep
    theirs in 32 bits."""

    def state_dict(self) -> dict[str, Any]:
        """As torch's own optimizers state it: the package nests it, and counts steps as numbers."""
        plain = Optimizer.state_dict(self)
        states = {
            key: state | {"step": torch.tensor(state["step"])}
            for key, state in plain["state"].items()
        }
        return {**plain, "state": states}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a state as `state_dict` gives it."""
        states = {
            key: state | {"step": int(state["step"])} for key, state in state_dict["state"].items()
        }
        super().load_state_dict({**state_dict, "state": states})
