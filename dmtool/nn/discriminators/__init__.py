"""Networks that tell real pictures from made ones."""

from dmtool.nn.discriminators.patch import PatchCritic

__all__ = ["PatchCritic"]
