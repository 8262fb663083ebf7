"""Sets of pictures -> rows of features."""
