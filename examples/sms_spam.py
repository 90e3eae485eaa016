"""Text messages, spam or not, through a frozen MiniLM: twenty people leave, and the spam filter forgets their messages.

    pip install -e '.[hf]'
    python examples/sms_spam.py sms_spam.jsonl.gz

The file has one JSON object a line: {"text": "...", "label": 1} for spam, 0 for ham (the UCI SMS Spam Collection, say).
"""

from __future__ import annotations

import gzip
import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from expunge import Certified, NoiseKey, Pipeline, Release, Rows
from expunge.features import FrozenText
from expunge.methods import CertifiedNewton

LEARNED, UNSEEN = 600, 200


def read(path: Path) -> tuple[Rows, Rows]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        messages = [json.loads(line) for line in islice(file, LEARNED + UNSEEN)]
    texts, labels = [m["text"] for m in messages], [m["label"] for m in messages]
    rows = Rows.of({"text": np.array(texts)}, labels, classes=("ham", "spam"))
    learned = np.arange(len(rows)) < LEARNED
    return rows.select(learned), rows.select(~learned)


def main(path: Path) -> None:
    rows, unseen = read(path)
    method = CertifiedNewton(epsilon=1.0, delta=1e-5, loss="logistic")
    spam_filter = Pipeline((FrozenText(("text",)),), method)

    def accuracy(release: Release, of: Rows) -> float:
        scores: Tensor = spam_filter.predict(release, of.columns)
        return float((scores.argmax(1).numpy() == of.y).mean())

    record = spam_filter.learn(rows, seed=0, noise=NoiseKey.fresh(1))
    before = spam_filter.release(record)

    leaving = rows.ids[rows.y == 1][:20]
    retained, forgotten = rows.without(leaving), rows.only(leaving)
    step = spam_filter.forget(record, retained, forgotten, noise=NoiseKey.fresh(2))
    after = spam_filter.release(step.record)
    retrained = spam_filter.release(spam_filter.learn(retained, seed=0, noise=NoiseKey.fresh(2)))

    print(f"Learned {len(rows)} messages, forgot {len(forgotten)} (all spam). Accuracy:\n")
    print(f"{'':28}{'unseen':>8}{'forgotten':>11}")
    rest = {"before (doing nothing)": before, "after forgetting": after, "learned again without them": retrained}
    for name, release in rest.items():
        print(f"{name:28}{accuracy(release, unseen):8.3f}{accuracy(release, forgotten):11.3f}")
    print(f"{'always ham':28}{(unseen.y == 0).mean():8.3f}{(forgotten.y == 0).mean():11.3f}\n")
    match step.certificate:
        case Certified(epsilon=epsilon, delta=delta, view=view, assumptions=assumptions):
            print(f"Certified: epsilon {epsilon:g}, delta {delta:g}, for the {view}, assuming:")
            print("\n".join(f"- {assumption}" for assumption in assumptions))
        case other:
            print(other)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        sys.exit("Give the file of messages: python examples/sms_spam.py sms_spam.jsonl.gz")
    torch.set_num_threads(1)  # the products are small: more threads would mostly wait for each other
    started = time.perf_counter()
    main(Path(sys.argv[1]))
    print(f"\n{time.perf_counter() - started:.0f} seconds")
