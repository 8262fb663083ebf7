"""Every setting's name, type and check; the values stand in `conf/`, which Hydra composes."""
