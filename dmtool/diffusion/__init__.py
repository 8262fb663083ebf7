"""Noise, denoisers, guidance, samplers and likelihood."""
