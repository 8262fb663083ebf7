"""Small pictures -> large ones."""
