"""Text through a frozen encoder: a transformer that is declared public and never trained on the rows.

Needs the extra `hf`. The encoder is a local folder in the layout of Hugging Face transformers (config, tokenizer,
safetensors weights); nothing is fetched. Each text is encoded alone: in a batch, padding and the shape of the matrix
products would make its last bits depend on its neighbours, and a forgotten row would be felt by those that stay.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.features.feature import Feature, Fitted, State, check_columns, column
from expunge.noise import NoiseKey
from expunge.rows import Array

Encode = Callable[[str], NDArray[np.float64]]


@dataclass(frozen=True)
class FrozenText(Feature):
    """One column of text to the mean of the encoder's last hidden states, of length 1 where `normalise`.

    Args:
        columns: the one column of text. folder: the encoder, a local folder.
        max_tokens: longer texts are cut. normalise: divides each embedding by its Euclidean length.
    """

    columns: tuple[str, ...]
    folder: str
    max_tokens: int = 256
    normalise: bool = True

    def __post_init__(self) -> None:
        check_columns("FrozenText", self.columns)
        if len(self.columns) > 1:
            raise InputError(f"FrozenText reads one column; give each of {self.columns} a FrozenText of its own.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is at least 1, not {self.max_tokens}.")

    @property
    def statistics(self) -> str:
        """Public: nothing is learned."""
        return "public"

    def accumulate(self, columns: Mapping[str, Array]) -> State:
        """Nothing is learned."""
        del columns
        return ()

    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """`encoder`: the SHA-256 of the encoder's files, so that another one is noticed."""
        del state, noise, purpose
        return {"encoder": folder_digest(Path(self.folder))}

    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.float64]:
        """(n, hidden size)."""
        texts = column(columns, self.columns[0])
        if texts.dtype.kind != "T":
            raise SchemaError(f"Column {self.columns[0]!r} holds numbers; text was expected.")
        encode = _encoder(self.folder, fitted["encoder"], self.max_tokens)
        if not len(texts):
            return np.empty((0, len(encode(""))))
        embedded = np.stack([encode(text) for text in texts.tolist()])
        if not self.normalise:
            return embedded
        return np.asarray(embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12))

    def assumptions(self) -> tuple[str, ...]:
        """What is declared of the encoder."""
        return (f"declared public: the frozen text encoder {Path(self.folder).name!r}, never trained on these rows",)


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the encoder's files.

    Raises:
        InputError: the folder is no encoder with safetensors weights.
    """
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{folder} is no text encoder: a local folder with config.json, tokenizer files and *.safetensors weights "
            "was expected (transformers' save_pretrained writes one)."
        )
    whole = hashlib.sha256()
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.txt"), *folder.glob("*.safetensors")]):
        with path.open("rb") as file:
            whole.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


@lru_cache(maxsize=2)
def _encoder(folder: str, digest: str, max_tokens: int) -> Encode:
    try:
        from transformers import AutoModel, AutoTokenizer  # takes seconds, and is an extra
    except ImportError as error:
        raise InputError("FrozenText needs transformers: install the extra with pip install 'expunge[hf]'.") from error
    if folder_digest(Path(folder)) != digest:
        raise InputError(f"The encoder in {folder} is not the one this model was learned with; put the old one back.")
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, attn_implementation="eager"
    ).eval()

    def encode(text: str) -> NDArray[np.float64]:
        tokens = tokenizer(text, truncation=True, max_length=max_tokens, return_tensors="pt")
        with torch.no_grad():
            states = model(**tokens).last_hidden_state[0]
        return np.asarray(states.to(torch.float64).mean(0).cpu().numpy(), dtype=np.float64)

    return encode
