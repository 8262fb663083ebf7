"""What steps weights, which of them alike, and how far."""

from dmtool.train.optim.kinds import averaged, build, factor, set_factor

__all__ = ["averaged", "build", "factor", "set_factor"]
