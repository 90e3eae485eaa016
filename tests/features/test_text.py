"""Frozen text: one text at a time, a clear error without the extra, another encoder noticed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge.errors import InputError, SchemaError
from expunge.features import FrozenText
from expunge.features import text as module
from expunge.rows import TEXT

TEXTS = np.array(["the cat sat", "a dog", "the dog and the cat sat on a mat", ""], dtype=TEXT)


def small_encoder(folder: Path) -> Path:
    """A tiny BERT with random weights and a vocabulary of words, written by transformers itself."""
    transformers = pytest.importorskip("transformers", reason="the extra hf (transformers) is not installed")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *["the", "a", "cat", "dog", "sat", "on", "and", "mat"]]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_a_text_is_encoded_alike_whoever_stands_beside_it(tmp_path: Path) -> None:
    feature = FrozenText(("t",), str(small_encoder(tmp_path / "encoder")))
    form = feature.fit((), None, "")
    together = feature.transform(form, {"t": TEXTS})
    assert together.shape == (4, 16)
    assert np.allclose(np.linalg.norm(together, axis=1), 1)
    for place in range(4):
        assert feature.transform(form, {"t": TEXTS[place : place + 1]}).tobytes() == together[place].tobytes()
    assert feature.transform(form, {"t": TEXTS[:0]}).shape == (0, 16)
    assert not np.allclose(together[0], together[1])


@pytest.mark.filterwarnings("ignore")
def test_another_encoder_is_noticed(tmp_path: Path) -> None:
    folder = small_encoder(tmp_path / "encoder")
    feature = FrozenText(("t",), str(folder))
    form = feature.fit((), None, "")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(InputError, match="not the one"):
        feature.transform(form, {"t": TEXTS})


def written(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_the_digest_covers_every_file(tmp_path: Path) -> None:
    folder = written(tmp_path / "encoder")
    digests = {module.folder_digest(folder)}
    (folder / "model.safetensors").write_bytes(b"other weights")
    digests.add(module.folder_digest(folder))
    (folder / "vocab.txt").write_text("a")
    digests.add(module.folder_digest(folder))
    assert len(digests) == 3


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    module._encoder.cache_clear()
    feature = FrozenText(("t",), str(written(tmp_path / "encoder")))
    with pytest.raises(InputError, match=r"expunge\[hf\]"):
        feature.transform(feature.fit((), None, ""), {"t": TEXTS})


def test_a_folder_that_is_no_encoder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text encoder"):
        FrozenText(("t",), str(tmp_path)).fit((), None, "")


def test_numbers_are_no_text(tmp_path: Path) -> None:
    feature = FrozenText(("t",), str(written(tmp_path / "encoder")))
    with pytest.raises(SchemaError, match="'t'"):
        feature.transform({"encoder": ""}, {"t": np.ones(2)})


def test_settings_and_assumptions() -> None:
    with pytest.raises(InputError, match="one column"):
        FrozenText(("a", "b"), "folder")
    with pytest.raises(InputError, match="max_tokens"):
        FrozenText(("a",), "folder", max_tokens=0)
    assert "declared public" in FrozenText(("a",), "some/where/minilm").assumptions()[0]
    assert "some/where" not in FrozenText(("a",), "some/where/minilm").assumptions()[0]
