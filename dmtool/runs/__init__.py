"""The run directory: the only hand-over between stages."""

from dmtool.runs.artifact import FORMAT, SEAL, Artifact, find, load, parent, run_dir, save

__all__ = ["FORMAT", "SEAL", "Artifact", "find", "load", "parent", "run_dir", "save"]
