"""Whether pictures are copies."""
