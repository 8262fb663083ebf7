"""Pictures -> features -> figures, with all that they depend on."""
