"""Methods, models and hyperparameters that cannot be: exit code 2 and a remedy, before anything is read or made."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expunge.errors import InputError, NotConverged
from expunge.learners.sgd import Sgd
from expunge.methods import CertifiedNewton, Retrain
from expunge.models import ModuleFile
from expunge.noise import NoiseKey
from expunge.rows import Rows
from tests.cli.conftest import LEARN

from .conftest import Run, Told

Refused = Callable[..., object]
PEOPLE = ("learn", "w", "--rows", "people.csv", *LEARN)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("l2=0", Told("l2 is 0.0", "the bound divides by it", "give a positive one, such as 1e-3")),
        ("l2=-1", Told("l2 is -1.0", "the bound divides by it", "give a positive one")),
        ("l2=nan", Told("l2 is nan", "the bound divides by it", "give a positive one")),
        ("l2=inf", Told("l2 is inf", "the bound divides by it", "give a positive one")),
        ("epsilon=0", Told("epsilon is 0.0", "at most max_epsilon=10.0", "give one above 0")),
        ("epsilon=-1", Told("epsilon is -1.0", "at most max_epsilon=10.0", "give one above 0")),
        ("epsilon=nan", Told("epsilon is nan", "at most max_epsilon=10.0", "give one above 0")),
        ("epsilon=inf", Told("epsilon is inf", "at most max_epsilon=10.0", "give one above 0")),
        ("delta=0", Told("delta is 0.0", "a probability", "give")),
        ("delta=1", Told("delta is 1.0", "a probability", "give")),
        ("noise_std=0", Told("noise_std is 0.0", "without noise nothing is certified", "try 0.01")),
        ("noise_std=inf", Told("noise_std is inf", "without noise nothing is certified", "try 0.01")),
        ("loss=hinge", Told("'hinge'", "a convex one of cross_entropy", "needs")),
    ],
)
def test_what_would_certify_nothing_is_refused(setting: str, told: Told, refused: Refused, run: Run) -> None:
    refused((*PEOPLE, "certified-newton", "--set", setting), 2, told)
    name, _, text = setting.partition("=")
    value: Any = text if name == "loss" else float(text)
    with pytest.raises(InputError) as raised:
        CertifiedNewton(**{name: value})
    assert told.given in str(raised.value)
    assert run(*PEOPLE, "certified-newton", "--set", "epsilon=2", "--set", "l2=0.1").code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sisa", "--set", "shard=3"), Told("'shard'", "has no field", "did you mean 'shards'?")),
        (
            ("sisa", "--set", "learner.epoch=3"),
            Told("'learner.epoch'", "no field", "did you mean 'learner.epochs'?"),
        ),
        (("sisa", "--set", "shards=many"), Told("'many'", "<integer>", "shards is")),
        (("sisa", "--set", "shards=1.5"), Told("'1.5'", "<integer>", "shards is")),
        (("retrain", "--set", "learner.learning_rate=fast"), Told("'fast'", "<number>", "learner.learning_rate is")),
        (("sisa", "--set", "aggregation=sum"), Told("'sum'", "majority|mean|weighted", "aggregation is")),
        (("retrain", "--set", "learner=boosting"), Told("'boosting'", "convex", "learner cannot be")),
        (("retrain", "--set", "learner"), Told("'learner'", "field=value", "is not of the form")),
        (("sisa", "--set", "shards=0"), Told("shards=0", "expected", "was given")),
        (("certified-neuton",), Told("'certified-neuton'", "did you mean 'certified-newton'?", "give path.py:name")),
        (("boosting",), Told("'boosting'", "there are: certified-deep, certified-newton", "give path.py:name")),
    ],
)
def test_a_setting_or_method_that_does_not_exist_is_explained(
    words: tuple[str, ...], told: Told, refused: Refused
) -> None:
    refused((*PEOPLE, *words), 2, told)


def test_a_target_is_asked_for(refused: Refused, run: Run) -> None:
    told = Told("--target COL", "a column", "is missing")
    refused(("learn", "w", "--rows", "people.csv", "--id", "id", "--method", "retrain"), 2, told)
    assert run(*PEOPLE, "certified-newton").code == 0


OWN = {
    "raises.py": "raise RuntimeError('not today')\n",
    "divides.py": "1 / 0\n",
    "exits.py": "raise SystemExit(0)\n",
    "needs.py": "import nothing_of_this_name\n",
    "typo.py": "def method(:\n",
    "number.py": "Method = 3\n",
    "plain.py": "from expunge.method import Method\nclass Mine(Method):\n    pass\n",
    "good.py": "from expunge.learners.convex import Convex\nfrom expunge.methods import Retrain\n"
    "mine = Retrain(Convex())\n",
}


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("absent.py:mine", Told("'absent.py'", "path.py:name, or one of certified-deep", "there is no file")),
        ("good.py", Told("'good.py'", "path.py:name", "give")),
        ("good.py:mime", Told("'mime'", "defines no", "did you mean 'mine'?")),
        ("number.py:Method", Told("'Method'", "subclasses expunge.Method", "was expected")),
        ("plain.py:Mine", Told("'Mine'", "defines its four functions", "was expected")),
        ("raises.py:mine", Told("'raises.py'", "RuntimeError: not today", "Mend the file")),
        ("divides.py:mine", Told("'divides.py'", "ZeroDivisionError", "Mend the file")),
        ("exits.py:mine", Told("'exits.py'", "SystemExit", "Mend the file")),
        ("needs.py:mine", Told("'needs.py'", "No module named 'nothing_of_this_name'", "Mend the file")),
        ("typo.py:mine", Told("'typo.py'", "SyntaxError", "Mend the file")),
    ],
)
def test_a_method_of_ones_own_that_cannot_be_had_is_named(
    method: str, told: Told, refused: Refused, folder: Path, run: Run
) -> None:
    for name, source in OWN.items():
        (folder / name).write_text(source)
    modules = set(sys.modules)
    refused((*PEOPLE, method), 2, told)
    failed = {"raises", "divides", "exits", "needs", "typo"} & (set(sys.modules) - modules)
    assert not failed
    assert run(*PEOPLE, "good.py:mine").code == 0


def test_a_file_that_fails_takes_no_module_away(refused: Refused, folder: Path) -> None:
    import json

    (folder / "json.py").write_text("raise ValueError('no')\n")
    refused((*PEOPLE, "json.py:mine"), 2, Told("'json.py'", "ValueError: no", "Mend the file"))
    assert sys.modules["json"] is json


NET = """from torch import nn
import torch
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(INPUTS, 2)
    def forward(self, x):
        FORWARD
"""
GOOD: Mapping[str, str] = {"INPUTS": "5", "FORWARD": "return self.layer(x)"}


def net(**changes: str) -> str:
    text = NET
    for name, value in {**GOOD, **changes}.items():
        text = text.replace(name, value)
    return text


def test_a_module_that_is_not_convex_gets_no_certificate(refused: Refused, folder: Path, run: Run) -> None:
    (folder / "net.py").write_text(net())
    told = Told("certified-newton takes no model of your own", "its own models only", "Leave --model out")
    refused((*PEOPLE, "certified-newton", "--model", "net.py:Net"), 2, told)
    field = Told("'model'", "certified-newton has no field", "there are")
    refused((*PEOPLE, "certified-newton", "--set", "model=mlp"), 2, field)
    with pytest.raises(TypeError):
        CertifiedNewton(model=ModuleFile.read("net.py:Net"))  # type: ignore[call-arg]
    with pytest.raises(InputError, match="convex"):
        CertifiedNewton(loss=lambda scores, y: (scores[:, 0] - y).sin())  # type: ignore[arg-type]
    for method in ("retrain", "sisa"):  # methods that take any model
        words = (f"w{method}", *PEOPLE[2:], method, "--set", "learner.epochs=1", "--model", "net.py:Net")
        assert run("learn", *words).code == 0


@pytest.mark.parametrize(
    ("place", "source", "told"),
    [
        ("absent.py:Net", net(), Told("'absent.py'", "No such file", "cannot be read")),
        ("net.py", net(), Told("'net.py'", "path.py:name", "the form is")),
        ("net.py:Nut", net(), Told("'Nut'", "class or function", "builds a module")),
        ("net.py:torch", net(), Told("'torch'", "class or function", "builds a module")),
        ("net.py:Net", "raise RuntimeError('not today')", Told("net.py:Net", "RuntimeError: not today", "failed")),
        ("net.py:Net", "raise SystemExit(0)", Told("net.py:Net", "SystemExit", "failed")),
        ("net.py:Net", "def Net(schema):\n    return 3\n", Told("gave a int", "a torch module", "was expected")),
        ("net.py:Net", net(INPUTS="3"), Told("x (32, 5)", "shapes cannot be multiplied", "The module failed")),
        ("net.py:Net", net(FORWARD="return 1 / 0"), Told("x (32, 5)", "ZeroDivisionError", "The module failed")),
        ("net.py:Net", net(FORWARD="return [x]"), Told("gave a list", "a tensor of scores", "was expected")),
        ("net.py:Net", net(FORWARD="return x[:, :2]"), Told("scores", "depend on its weights", "cannot be trained")),
        (
            "net.py:Net",
            net(FORWARD="return self.layer(torch.dropout(x, 0.5, True))"),
            Told("draws from torch's global generator", "no function of the rows", "take the layer out"),
        ),
        (
            "net.py:Net",
            net(FORWARD="return self.layer(x) * float('nan')"),
            Told("diverged at learning_rate=0.05", "a smaller one", "give"),
        ),
    ],
)
def test_a_module_of_ones_own_that_cannot_be_trained_leaves_nothing(
    place: str, source: str, told: Told, refused: Refused, folder: Path
) -> None:
    (folder / "net.py").write_text(source)
    refused((*PEOPLE, "retrain", "--set", "learner.epochs=1", "--model", place), 1, told)
    rows = Rows.of(np.random.default_rng(0).normal(size=(64, 5)), np.arange(64) % 2)
    with pytest.raises((InputError, NotConverged)):
        Retrain(Sgd(ModuleFile.read(place), epochs=1)).learn(rows, seed=0, noise=NoiseKey.fresh(1))


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "v", "--rows", "test.csv", "--out", "none/p.csv"),
        ("audit", "v", "--test", "test.csv", "--references", 2, "--out", "none/a.html"),
        ("work", "v", "--audit", "--test", "test.csv", "--references", 2, "--out", "none/w.html"),
        ("public-key", "v", "--out", "none/k.pem"),
    ],
)
def test_a_result_without_a_place_stops_before_the_work(words: tuple[object, ...], refused: Refused, run: Run) -> None:
    run("request", "v", "--ids", "p1")
    refused(words, 2, Told("--out none/", "does not exist", "name a file in a folder that does"))
    assert run("ledger", "v", "--json").json[0]["state"] == "pending"
