"""What evaluations write."""

NASTY = "<script>alert('x')</script>"


def result(checkpoint, fd, **changes):
    """What an evaluation wrote."""
    figures = {"all": {"n_fake": 100, "fd": fd, "r@1": 0.25}, "seen": {"fd": 2 * fd}}
    settings = {"checkpoint": checkpoint, "guidance": {"scale": 2.0}}
    whole = {"metric": "FD-x@224", "n_fake": 100, "split": "test", "settings": settings}
    return whole | {"extractor": {"name": "x"}, "figures": figures} | changes
