"""Files that are written whole, read with care, and computed once."""
