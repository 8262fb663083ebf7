"""Files damaged and forged in every way that we know, by a seed; and acts on them under guard."""

import json
import os
import random
import resource
import shutil
import signal
from contextlib import contextmanager

from dmtool.errors import CheckFailed, UserError

SECONDS, BYTES = 20, 2**31
"""What an act on a damaged file may take: of time, and of memory beyond what there is."""

MANY = 300
"""Cases of each kind of file."""

DEEP = json.loads("[" * 200 + "]" * 200)
NASTY = [
    None, True, "", "x", "64", -1, 0, 1, 3, 10**6, 10**18, 10**40, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), [], {}, [1], [None], {"kind": "x"}, DEEP, "a" * 100_000, "/etc/passwd", "../../x",
    "\x1b[31m", "\ud800", "\0", "${oc.env:HOME}", "é", [[1, 2], [3]], {"a": {"b": 1}},
    list(range(1000)),
]  # fmt: skip


def json_mutated(text, rng):
    """A JSON text with one thing changed: a value, a key, the structure."""
    value = json.loads(text)
    holder, key = rng.choice([*_places(value)] or [({"x": 1}, "x")])
    act = rng.choice(["value", "value", "value", "near", "gone", "name", "twice", "deep"])
    if act == "value":
        holder[key] = rng.choice(NASTY)
    elif act == "near":
        holder[key] = _near(holder[key], rng)
    elif act == "gone":
        del holder[key]
    elif act == "name" and isinstance(holder, dict):
        holder[rng.choice([f"{key}x", f"../{key}", "\0", "\ud800", ""])] = holder.pop(key)
    elif act == "twice":
        return text.replace("{", '{"kind": 1, "kind": 2, ', 1)
    else:
        deep = rng.choice([50, 5000, 200_000])
        return text.replace(":", f': {"[" * deep}{"]" * deep}, "y":', 1)
    return json.dumps(value, indent=1)


def lines_mutated(text, rng):
    lines = text.splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at] = json_mutated(lines[at], rng).replace("\n", "") + "\n"
    return "".join(lines)


def _places(value):
    """(holder, key) of everything within."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inside:
        yield value, key
        if isinstance(each, dict | list):
            yield from _places(each)


def _near(value, rng):
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float):
        return rng.choice([value + 1, value - 1, value * 2, -value, float(value), str(value)])
    if isinstance(value, str):
        return rng.choice([value.upper(), value[:-1], value + "0", value[::-1]])
    return rng.choice([[value], {"x": value}, list(value)[:-1]])


TEXTS = {".json": json_mutated, ".jsonl": lines_mutated}


def bytes_mutated(data, rng):
    """Some bytes flipped, cut off, put in, or all of them others."""
    at = rng.randrange(len(data) + 1)
    return rng.choice([
        lambda: data[:at],
        lambda: b"",
        lambda: data[:at] + bytes([data[at - 1] ^ (1 << rng.randrange(8))]) + data[at + 1 :],
        lambda: data[:at] + rng.randbytes(rng.choice([1, 8, 100])) + data[at:],
        lambda: data[:at] + bytes(min(64, len(data))) + data[at + 64 :],
        lambda: rng.randbytes(len(data)),
        lambda: data + data,
        lambda: data.decode("latin-1").encode("utf-16"),
        lambda: b"\x80\x04\x95" + data,
        lambda: b"[" * 100_000,
    ])()  # fmt: skip


def put(path, data):
    """Make a file of these bytes, whatever stands there."""
    gone(path)
    path.write_bytes(data)


def gone(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def misplaced(path, rng):
    """Something else stands where the file was."""
    data = path.read_bytes()
    gone(path)
    act = rng.choice(["gone", "folder", "pipe", "dangling", "loop", "device", "huge"])
    if act == "folder":
        path.mkdir()
    elif act == "pipe":
        os.mkfifo(path)
    elif act == "huge":
        path.write_bytes(data)
        os.truncate(path, BYTES)
    elif act != "gone":
        target = {"dangling": "nowhere", "loop": path.name, "device": "/dev/zero"}[act]
        path.symlink_to(target)
    return act


def damage(path, rng, text=None):
    """Damage a file in one way; `text` changes its content by what it means. Says what was done."""
    act = rng.choice(["text"] * 6 + ["bytes"] * 3 + ["place"])
    if act == "place":
        return misplaced(path, rng)
    data = path.read_bytes()
    if act == "text" and text is not None:
        put(path, text(data.decode(), rng).encode())
    else:
        put(path, bytes_mutated(data, rng))
    return act


@contextmanager
def guard():
    """Within it hanging and taking much memory are errors."""

    def hang(*_):
        raise TimeoutError(f"{SECONDS} s have passed")

    before = signal.signal(signal.SIGALRM, hang)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + BYTES, limits[1]))
    around = signal.alarm(SECONDS)  # of a guard that this one is within
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        signal.alarm(around)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def outcome(act):
    """What an act gives, or the one line in which it is refused; all else is raised."""
    try:
        with guard():
            return "done", act()
    except (UserError, CheckFailed) as error:
        line = str(error)
        assert line.strip() and "\n" not in line and len(line) < 5000, line[:5000]
        return "refused", line


def tried(files, act, cases, texts=None, seed=0):
    """Damage one of `files` at a time, `cases` times, and yield what was done and what came of it.

    The folder that holds them all is as it was before each case.
    """
    home = files[0] if files[0].is_dir() else os.path.commonpath([f.parent for f in files])
    kept = f"{home}.kept"
    shutil.copytree(home, kept, symlinks=True)
    for case in range(cases):
        rng = random.Random(f"{seed}-{case}")
        path = rng.choice(files)
        done = damage(path, rng, (texts or {}).get(path.suffix))
        try:
            found = outcome(act)
        except BaseException as error:
            raise AssertionError(f"case {case}: {path.name}, {done}: {error!r}") from error
        yield f"case {case}: {path.name}, {done}", *found
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(kept, home, symlinks=True)
