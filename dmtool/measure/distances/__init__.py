"""Rows of features -> distances of their distributions."""
