"""Real text messages through MiniLM: neighbours, an independent implementation, and forgetting end to end."""

from __future__ import annotations

import gzip
import json
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

from expunge.audits import Step, audit_step
from expunge.certificate import Certified, View
from expunge.features import FrozenText, Pipeline
from expunge.features.text import MINILM
from expunge.features.text_encoder import BATCH, STEP, encoder_folder
from expunge.methods import CertifiedNewton
from expunge.noise import NoiseKey
from expunge.rows import Rows
from expunge.schema import TEXT

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # of transformers
    pytest.mark.slow,
]
LEARNED, TESTED = 600, 150


@pytest.fixture(scope="module")
def feature() -> FrozenText:
    pytest.importorskip("transformers", reason="the extra hf (transformers) is not installed")
    try:
        metadata.distribution(MINILM)
    except metadata.PackageNotFoundError:
        pytest.skip(f"the extra hf ({MINILM}) is not installed")
    return FrozenText(("text",), max_tokens=16)


@pytest.fixture(scope="module")
def messages(shared_data: Path) -> Rows:
    with gzip.open(shared_data / "sms_spam.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [json.loads(line) for line in file][: LEARNED + TESTED]
    texts = np.array([line["text"] for line in lines], dtype=TEXT)
    return Rows.of({"text": texts}, [line["label"] for line in lines], classes=("ham", "spam"))


def embedded(feature: FrozenText, texts: np.ndarray) -> np.ndarray:
    return feature.transform(feature.fit((), None, ""), {"text": texts})


def test_a_message_has_the_same_bits_beside_any_others(feature: FrozenText, messages: Rows) -> None:
    texts = messages.columns["text"][:60]
    together = embedded(feature, texts)
    order = np.random.default_rng(0).permutation(60)
    assert embedded(feature, texts[order]).tobytes() == together[order].tobytes()
    assert embedded(feature, texts[7:]).tobytes() == together[7:].tobytes()
    for place in range(0, 60, 6):
        assert embedded(feature, texts[place : place + 1]).tobytes() == together[place].tobytes()


def test_a_batch_of_another_shape_would_be_felt(feature: FrozenText, messages: Rows) -> None:
    """Positive control: without the fixed shape the bits do change, so the test above can fail."""
    import transformers

    folder = encoder_folder(MINILM)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokens = [tokenizer(text)["input_ids"] for text in messages.columns["text"][:200]]
    short = [text for text in tokens if len(text) <= STEP]
    with torch.no_grad():
        alone = [model(input_ids=torch.tensor([text])).last_hidden_state[0] for text in short]
        batched = [model(input_ids=torch.tensor([text] * BATCH)).last_hidden_state[0] for text in short]
    assert short
    assert not all(torch.equal(a, b) for a, b in zip(alone, batched, strict=True))


def test_embeddings_are_those_of_sentence_transformers(feature: FrozenText, messages: Rows) -> None:
    oracle = pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed")
    texts = messages.columns["text"][:40]
    expected = oracle.SentenceTransformer(str(encoder_folder(MINILM)), device="cpu").encode(texts.tolist())
    assert np.abs(embedded(FrozenText(("text",)), texts) - expected).max() < 1e-5


def test_forgetting_messages_end_to_end(
    feature: FrozenText, messages: Rows, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, test = messages.select(np.arange(LEARNED + TESTED) < LEARNED), messages.only(range(LEARNED, LEARNED + TESTED))
    pipeline = Pipeline((feature,), CertifiedNewton(loss="logistic", noise_std=0.03))
    learned = pipeline.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    before = pipeline.release(learned)
    leaving = range(0, LEARNED, LEARNED // 20)
    retained, forgotten, key = rows.without(leaving), rows.only(leaving), NoiseKey.fresh(2)
    step = pipeline.forget(pipeline.settle(learned, rows), retained, forgotten, noise=key)
    assert len(forgotten) == 20
    certificate = step.certificate
    assert isinstance(certificate, Certified)
    assert certificate.view is View.STATE
    assert certificate.basis == "measured"
    assert any(MINILM in assumption for assumption in certificate.assumptions)
    after = pipeline.release(step.record)
    audit = audit_step(
        Step(pipeline, 0, before, after, certificate, retained, forgotten, key, step.stats), test, references=0
    )
    assert audit.claim.confirmed is True
    assert audit.contradictions == ()
    accuracy = [
        float((pipeline.predict(release, test.columns).argmax(1).numpy() == test.y).mean())
        for release in (before, after)
    ]
    usual = float((test.y == 0).mean())
    with capsys.disabled():
        print(f"\naccuracy before {accuracy[0]:.3f}, after {accuracy[1]:.3f}; always ham {usual:.3f}; {audit.verdict}")
    assert min(accuracy) > usual + 0.05
