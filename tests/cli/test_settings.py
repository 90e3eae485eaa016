"""`--set field=value` becomes a typed hyperparameter, or a message that names the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from expunge.cli.choosing import choose
from expunge.cli.output import UsageError
from expunge.cli.settings import name_of, parse
from expunge.learners.convex import Convex
from expunge.learners.scikit_learn import ScikitLearn
from expunge.learners.sgd import Sgd
from expunge.methods import CertifiedNewton, Retrain, Sisa
from expunge.models import Linear, Mlp, ModuleFile


def chosen(name: str, *settings: str, model: str | None = None) -> object:
    return choose(name, parse(settings), model)


def test_numbers_text_and_tuples_are_read_by_their_annotations() -> None:
    assert chosen("certified-newton", "epsilon=2", "delta=1e-6", "loss=squared") == CertifiedNewton(
        epsilon=2.0, delta=1e-6, loss="squared"
    )
    assert chosen("sisa", "shards=4", "aggregation=mean", "learner.model.hidden=8, 4") == Sisa(
        Sgd(Mlp(hidden=(8, 4))), shards=4, aggregation="mean"
    )


def test_a_field_that_may_be_several_classes_is_named_by_its_own_value() -> None:
    assert chosen("retrain", "learner=convex", "learner.l2=0.5") == Retrain(Convex(l2=0.5))
    assert chosen("retrain", "learner.l2=0.5", "learner=convex") == Retrain(Convex(l2=0.5))
    assert chosen("retrain", "learner.model=linear", "learner.epochs=3") == Retrain(Sgd(Linear(), epochs=3))
    assert name_of(ScikitLearn) == "scikit-learn"


def test_a_model_of_ones_own_goes_to_the_learner(tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    file.write_text("from torch import nn\n\ndef small(schema):\n    return nn.Linear(3, 2)\n")
    method = chosen("sisa", "learner.epochs=2", model=f"{file}:small")
    assert isinstance(method, Sisa)
    assert isinstance(method.learner, Sgd)
    assert isinstance(method.learner.model, ModuleFile)
    assert method.learner.epochs == 2


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("sisa", ["shard=3"], "did you mean 'shards'"),
        ("sisa", ["learner.epoch=3"], "did you mean 'learner.epochs'"),
        ("sisa", ["learner=convexx"], "did you mean 'convex'"),
        ("sisa", ["shards=many"], "shards is <integer>, not 'many'"),
        ("sisa", ["aggregation=sum"], "majority|mean|weighted"),
        ("sisa", ["shards.x=1"], "no fields of its own"),
        ("sisa", ["shards"], "field=value"),
        ("sisa", ["shards=2", "shards=3"], "twice"),
        ("sisa", ["shards=0"], "shards=0 was given"),
        ("certified-newton", ["epsilon=0"], "epsilon"),
        ("certified-newton", ["epsilon=-1"], "epsilon"),
        ("certified-newton", ["l2=0"], "l2"),
        ("certified-neuton", [], "did you mean 'certified-newton'"),
        ("nowhere.py:Thing", [], "no file 'nowhere.py'"),
    ],
)
def test_what_does_not_fit_is_explained(name: str, settings: list[str], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        chosen(name, *settings)
    assert says in str(raised.value)


def test_a_certified_method_takes_no_module() -> None:
    with pytest.raises(UsageError, match="takes no model of your own"):
        chosen("certified-newton", model="net.py:small")
