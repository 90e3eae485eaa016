"""The data sets of these experiments as rows; they lie in a folder beside the project, and none is fetched."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from removal_runs import FOLDER

from expunge import Rows

WORD = re.compile(r"[a-z0-9]+")
TOPICS = ("World", "Sports", "Business", "Sci/Tech")
PAD, FIRST, UNKNOWN = 0, 1, 2  # token ids beside words


@dataclass(frozen=True)
class Parts:
    """Rows to learn from and to test on."""

    rows: Rows
    test: Rows


def mnist(count: int, test: int, *, dtype: Any = np.float64) -> Parts:
    """The first `count` pictures, halved to 14 by 14 by means of four pixels, in [0, 1]."""
    parts = []
    with np.load(FOLDER / "mnist.npz", allow_pickle=False) as file:
        for part, most in (("train", count), ("test", test)):
            x, y = file[f"X_{part}"][:most], file[f"y_{part}"][:most]
            small = x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4)).reshape(len(x), 196) / 255.0
            parts.append(Rows.of(small.astype(dtype), y.astype(np.int64), classes=10))
    return Parts(*parts)


def cifar(count: int, test: int) -> Parts:
    """Pictures of 3 by 32 by 32, the means and spreads of the colours taken out."""
    parts = []
    with np.load(FOLDER / "cifar10_12k.npz", allow_pickle=False) as file:
        for part, most in (("train", count), ("test", test)):
            x, y = file[f"X_{part}"][:most], file[f"y_{part}"][:most]
            scaled = (x / 255.0 - 0.47) / 0.25
            parts.append(Rows.of(scaled.transpose(0, 3, 1, 2).astype(np.float32), y.astype(np.int64), classes=10))
    return Parts(*parts)


@dataclass(frozen=True)
class Faces:
    """Olivetti: 40 persons, ten pictures each of 32 by 32, in [-1, 1]; `person` (rows,)."""

    x: NDArray[np.float32]
    person: NDArray[np.int64]

    def rows(self, pictures: Sequence[int], persons: int = 40) -> Rows:
        """Those pictures (0 to 9, in an order drawn for each person) of the first persons, named person-picture."""
        where = [p * 10 + i for p in range(persons) for i in pictures]
        names = [f"{p}-{i}" for p in range(persons) for i in pictures]
        return Rows.of(self.x[where], self.person[where], ids=names, classes=persons)


def faces() -> Faces:
    """All pictures, halved, each person's shuffled."""
    with np.load(FOLDER / "olivetti_faces.npz", allow_pickle=False) as file:
        x, person = file["X"].astype(np.float32), file["y"].astype(np.int64)
    order = np.concatenate([
        np.random.default_rng(p).permutation(np.flatnonzero(person == p)) for p in range(40)
    ])  # fmt: skip
    small = x[order].reshape(400, 1, 32, 2, 32, 2).mean(axis=(3, 5)) / 127.5 - 1
    return Faces(small.astype(np.float32), person[order])


def headlines(count: int, test: int) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """(text, topic) of AG News, as many of each topic."""
    found: dict[str, list[tuple[str, int]]] = {"dev": [], "test": []}
    seen: Counter[tuple[str, int]] = Counter()
    with gzip.open(FOLDER / "ag_news_17k.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            part, topic = row.get("split") or row["fold"], int(row["label"])
            if seen[part, topic] < (count if part == "dev" else test) // 4:
                seen[part, topic] += 1
                found[part].append((row["text"], topic))
    return found["dev"], found["test"]


def vocabulary(texts: Sequence[str], size: int) -> dict[str, int]:
    """The most frequent words, numbered from 3."""
    words = Counter(word for text in texts for word in WORD.findall(text.lower()))
    return {word: number + 3 for number, (word, _) in enumerate(words.most_common(size - 3))}


def tokens(texts: Sequence[str], known: dict[str, int], length: int) -> dict[str, NDArray[np.int64]]:
    """`input_ids` and `attention_mask` (texts, length), a first token before the words."""
    ids = np.full((len(texts), length), PAD)
    mask = np.zeros((len(texts), length), np.int64)
    for row, text in enumerate(texts):
        found = [FIRST, *(known.get(word, UNKNOWN) for word in WORD.findall(text.lower()))][:length]
        ids[row, : len(found)], mask[row, : len(found)] = found, 1
    return {"input_ids": ids, "attention_mask": mask}
