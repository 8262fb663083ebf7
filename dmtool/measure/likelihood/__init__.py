"""How probable pictures are to a model."""
