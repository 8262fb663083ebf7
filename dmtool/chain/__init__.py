"""Artifacts, prompts and seeds -> pictures."""
