"""Kinds that are not dmtool's own: a sampler, a source of pictures, an extractor and a metric."""
