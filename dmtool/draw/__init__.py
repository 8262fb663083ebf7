"""Pictures of pictures: sheets, animations, curves."""
