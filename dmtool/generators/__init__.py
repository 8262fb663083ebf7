"""Prompts and seeds -> the codes of pictures, by several kinds of generators."""
