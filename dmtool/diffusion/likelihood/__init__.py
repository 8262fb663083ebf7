"""How probable a picture is to a model: the variational bound, and the probability flow."""

from dmtool.diffusion.likelihood.bound import Bound, step_bound, variational_bound
from dmtool.diffusion.likelihood.flow import calls, flow_likelihood

__all__ = ["Bound", "calls", "flow_likelihood", "step_bound", "variational_bound"]
