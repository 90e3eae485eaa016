"""Frozen text: neighbours are not felt, a clear error without the extra, another encoder noticed."""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge.errors import InputError, SchemaError
from expunge.features import FrozenText, text_encoder
from expunge.schema import TEXT

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
    digests = {text_encoder.folder_digest(folder)}
    (folder / "model.safetensors").write_bytes(b"other weights")
    digests.add(text_encoder.folder_digest(folder))
    (folder / "vocab.txt").write_text("a")
    digests.add(text_encoder.folder_digest(folder))
    assert len(digests) == 3


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    text_encoder.load_encoder.cache_clear()
    feature = FrozenText(("t",), str(written(tmp_path / "encoder")))
    with pytest.raises(InputError, match=r"expunge\[hf\]"):
        feature.transform(feature.fit((), None, ""), {"t": TEXTS})


@pytest.mark.filterwarnings("ignore")
def test_nothing_is_fetched_or_shown_and_the_generator_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = small_encoder(tmp_path / "encoder")

    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    feature = FrozenText(("t",), str(folder))
    before = torch.get_rng_state()
    capfd.readouterr()
    assert feature.transform(feature.fit((), None, ""), {"t": TEXTS}).shape == (4, 16)
    assert torch.equal(before, torch.get_rng_state())
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore")
def test_an_encoder_without_all_its_weights_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = small_encoder(tmp_path / "encoder")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    feature = FrozenText(("t",), str(folder))
    with pytest.raises(InputError, match=r"lacks weights \(encoder.layer.1.output.dense.weight, 1 in all"):
        feature.transform(feature.fit((), None, ""), {"t": TEXTS})


@pytest.mark.filterwarnings("ignore")
def test_long_texts_are_cut_to_what_is_asked_or_read(tmp_path: Path) -> None:
    folder = small_encoder(tmp_path / "encoder")  # reads 512 tokens
    long, cut = (np.array([" ".join(["cat"] * words)], dtype=TEXT) for words in (2000, 510))
    whole = FrozenText(("t",), str(folder), max_tokens=10_000)
    form = whole.fit((), None, "")
    assert whole.transform(form, {"t": long}).tobytes() == whole.transform(form, {"t": cut}).tobytes()
    short = FrozenText(("t",), str(folder), max_tokens=5)
    ends = np.array(["the cat sat on", "the cat sat a dog"], dtype=TEXT)
    first, second = short.transform(form, {"t": ends})
    assert first.tobytes() == second.tobytes()
    assert not np.allclose(*whole.transform(form, {"t": ends}))


def test_a_folder_that_is_no_encoder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no text encoder"):
        FrozenText(("t",), str(tmp_path)).fit((), None, "")


@pytest.mark.parametrize("name", ["no-such-encoder", ""])
def test_an_encoder_that_is_nowhere_names_the_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"expunge\[hf\]" if name else "no text encoder"):
        FrozenText(("t",), name).fit((), None, "")


def test_a_package_without_weights_is_no_encoder() -> None:
    with pytest.raises(InputError, match="'pytest' holds no folder"):
        FrozenText(("t",), "pytest").fit((), None, "")


def test_an_installed_package_is_an_encoder_without_being_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "some_encoder"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it was imported')")
    written(package / "model")
    (package / "model" / "pooling").mkdir()
    (package / "model" / "pooling" / "config.json").write_text("{}")
    about = tmp_path / "some_encoder-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: some-encoder\nVersion: 1.0\n")
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    monkeypatch.syspath_prepend(str(tmp_path))
    fitted = FrozenText(("t",), "some-encoder").fit((), None, "")
    assert fitted == FrozenText(("t",), str(package / "model")).fit((), None, "")


def test_a_difference_between_places_of_a_batch_is_seen() -> None:
    def same(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (tokens * mask)[..., None].expand(-1, -1, 3) / 7

    def other(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = same(tokens, mask).clone()
        hidden[2] *= 1 + 1e-7
        return hidden

    assert text_encoder.places_are_alike(same, [5, 3, 1])
    assert not text_encoder.places_are_alike(other, [5, 3, 1])


def test_every_batch_of_a_length_has_the_same_shape() -> None:
    shapes: list[tuple[int, ...]] = []

    def felt(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """States that depend on the batch's shape, as the last bits of a matrix product may."""
        shapes.append(tuple(tokens.shape))
        return (tokens * mask)[..., None].expand(-1, -1, 3) * (1 + 1e-7 * tokens.shape[0])

    texts = [[5, 3, 1], [7, 2, 2, 2], [1], [9, 9]]
    together = text_encoder.read(felt, texts, 8, 0)
    for count in range(1, 5):
        assert text_encoder.read(felt, texts[:count], 8, 0).tobytes() == together[:count].tobytes()
    assert set(shapes) == {(text_encoder.BATCH, 8)}


@pytest.mark.filterwarnings("ignore")
def test_where_places_differ_every_text_is_read_with_copies_of_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = text_encoder.read

    def spy(states: text_encoder.States, texts: list[list[int]], length: int, pad: int) -> object:
        seen.append(len(texts))
        return real(states, texts, length, pad)

    monkeypatch.setattr(text_encoder, "read", spy)
    feature = FrozenText(("t",), str(small_encoder(tmp_path / "encoder")))
    form = feature.fit((), None, "")
    together = feature.transform(form, {"t": TEXTS[[0, 1, 3]]})
    assert seen == [text_encoder.BATCH, 3]  # the copies that are compared, and the batch
    monkeypatch.setattr(text_encoder, "places_are_alike", lambda *_: False)
    text_encoder.load_encoder.cache_clear()
    seen.clear()
    assert feature.transform(form, {"t": TEXTS[[0, 1, 3]]}).tobytes() == together.tobytes()
    assert seen == [1, 1, 1]
    text_encoder.load_encoder.cache_clear()


def test_numbers_are_no_text(tmp_path: Path) -> None:
    feature = FrozenText(("t",), str(written(tmp_path / "encoder")))
    with pytest.raises(SchemaError, match="'t'"):
        feature.transform({"encoder": ""}, {"t": np.ones(2)})
    with pytest.raises(SchemaError, match="one was expected"):
        feature.transform({"encoder": ""}, {"t": np.array([["a", "b"]], dtype=TEXT)})


def test_settings_and_assumptions() -> None:
    with pytest.raises(InputError, match="one column"):
        FrozenText(("a", "b"), "folder")
    with pytest.raises(InputError, match="max_tokens"):
        FrozenText(("a",), "folder", max_tokens=0)
    assert "declared public" in FrozenText(("a",), "some/where/minilm").assumptions()[0]
    assert "some/where" not in FrozenText(("a",), "some/where/minilm").assumptions()[0]
