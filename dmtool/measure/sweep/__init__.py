"""Combinations of settings, measured."""
