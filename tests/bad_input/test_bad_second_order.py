"""What the certified and second-order methods cannot take, as a user sees it: settings, targets, models, requests."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from expunge.cli.choosing import names
from expunge.vault import Vault
from tests.cli.conftest import LEARN, Ran

from .conftest import Run, Told, cell, names_in, state, still_works, table

Refused = Callable[..., object]
PEOPLE = ("learn", "w", "--rows", "people.csv", *LEARN)

# Method -> settings with which it learns people.csv at once. A public bound of a row's length has to hold for the
# standardised columns; differential privacy needs the noise that 120 rows take.
LEARNS = {
    "certified-deep": ("learner.epochs=2",),
    "certified-removal": (),
    "delta-grad": ("learner.epochs=20",),
    "descent-to-delete": ("row_norm=10", "radius=1"),
    "differential-privacy": ("noise_std=8",),
    "distributed-descent": ("row_norm=10", "radius=0.5", "subsets=4"),
    "fine-tune": ("learner.epochs=2",),
    "fisher": (),
    "gradient-ascent": ("learner.epochs=2",),
    "influence": (),
    "newton-shift": (),
    "rewind": ("learner.epochs=2",),
    "sekhari": (),
}
NETWORKS = (
    "certified-deep",
    "delta-grad",
    "fine-tune",
    "fisher",
    "gradient-ascent",
    "influence",
    "newton-shift",
    "rewind",
)
LINEAR = ("certified-removal", "descent-to-delete", "differential-privacy", "distributed-descent", "sekhari")
BUDGETS = ("certified-deep", *LINEAR, "mixed-linear")


def settings(*given: str) -> tuple[str, ...]:
    return tuple(word for setting in given for word in ("--set", setting))


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder: settings are refused before any row is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explained(ran: Ran, told: Told) -> None:
    assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1), ran
    for what in (told.given, told.expected, told.to_do):
        assert what in ran.err, ran.err


def test_every_method_is_in_this_folder() -> None:
    texts = {path.name: path.read_text() for path in Path(__file__).parent.glob("test_bad_*.py")}
    absent = [name for name in names() if not any(re.search(rf"[\"/ ]{name}[\":]", text) for text in texts.values())]
    assert absent == []
    assert set(LEARNS) == {*NETWORKS, *LINEAR}


@pytest.mark.parametrize("method", BUDGETS)
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("epsilon=0", Told("epsilon is 0.0", "at most max_epsilon=10.0", "give one above 0")),
        ("epsilon=11", Told("epsilon is 11.0", "at most max_epsilon=10.0", "give one above 0")),
        ("delta=1", Told("delta is 1.0", "a probability", "such as 1e-5")),
        ("noise_std=0", Told("noise_std is 0.0", "without noise nothing is certified", "try 0.01")),
        ("noise_std=much", Told("'much'", "<number>", "noise_std is")),
    ],
)
def test_a_budget_that_certifies_nothing(method: str, setting: str, told: Told, nowhere: Path, run: Run) -> None:
    explained(run(*PEOPLE, method, "--set", setting), told)
    assert not names_in(nowhere)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("certified-deep", "damping=-1"), Told("damping=-1.0", "at least 0", "such as 1.0")),
        (("certified-deep", "solver=newton"), Told("'newton'", "cg|lissa", "solver is")),
        (("certified-deep", "batch_size=0"), Told("batch_size=0", "a positive number", "was expected")),
        (("certified-deep", "hessian_lipschitz=nan"), Told("hessian_lipschitz=nan", "at least 0", "or leave it")),
        (("certified-deep", "learner.norm_bound=0"), Told("norm_bound=0.0", "a positive number", "was expected")),
        (("certified-deep", "learner=convex"), Told("'convex'", "there are: sgd", "learner cannot be")),
        (("certified-removal", "l2=-1"), Told("l2=-1.0", "both must be positive", "try 1e-3")),
        (("certified-removal", "loss=huber"), Told("'huber'", "logistic, one_vs_rest, squared", "it is one of")),
        (("certified-removal", "bound=worst_case"), Told("row_norm is None", "a public, positive one", "try 1.0")),
        (("certified-removal", "learner=sgd"), Told("'learner'", "has no field", "there are: bound")),
        (("descent-to-delete", "l2=0"), Told("l2 is 0.0", "a positive finite number", "such as")),
        (("descent-to-delete", "variant=best"), Told("'best'", "perfect, secret", "give one of")),
        (("descent-to-delete", "loss=squared"), Told("target_norm is None", "a public bound of |y|", "try 1.0")),
        (("differential-privacy", "loss=squared"), Told("'squared'", "a bounded slope", "one of cross_entropy")),
        (("differential-privacy", "row_norm=0"), Told("row_norm is 0.0", "a positive one", "the sensitivity needs")),
        (("distributed-descent", "radius=-1"), Told("radius is -1.0", "a positive finite number", "such as")),
        (("distributed-descent", "subsets=0"), Told("subsets=0", "calibration=", "give")),
        (("delta-grad", "period=0"), Told("period=0", "at least 1", "was expected")),
        (("delta-grad", "certificate=assumed"), Told("'assumed'", "a finite error_bound", "assert")),
        (("delta-grad", "learner.l2=0"), Told("l2=0.0", "a positive number", "was expected")),
        (("fine-tune", "epochs=0"), Told("epochs is 0", "at least 1 more epoch", "such as 2")),
        (("fisher", "noise_std=0"), Told("noise_std is 0.0", "a positive number", "such as 1e-3")),
        (("fisher", "batch_size=-1"), Told("batch_size=-1", "0 or more", "was expected")),
        (("fisher", "form=fast"), Told("'fast'", "exact, empirical, diagonal, kronecker", "choose one of")),
        (("fisher", "scrub=true"), Told("'exact'", "form='diagonal'", "give")),
        (("fisher", "dense_limit=-1"), Told("dense_limit=-1", "0 or more", "was expected")),
        (("gradient-ascent", "batch_size=0"), Told("batch_size is 0", "at least 1", "give")),
        (("gradient-ascent", "max_loss=inf"), Told("max_loss is inf", "a positive number, such as 0.69", "or None")),
        (("gradient-ascent", "retain_weight=1"), Told("retain_weight is 1.0", "below 1", "give 0 (ascent alone)")),
        (("influence", "batch_size=0"), Told("batch_size=0", "at least 1", "None: the whole request")),
        (("influence", "cg_tol=2"), Told("cg_tol=2.0", "between 0 and 1", "try 1e-6")),
        (("influence", "noise_std=-1"), Told("noise_std=-1.0", "at least 0", "give")),
        (("l-foci", "noise_std=-1"), Told("noise_std=-1.0", "at least 0", "expected")),
        (("l-foci", "gradient=half"), Told("'half'", "removed|full", "gradient is")),
        (("l-foci", "selection.selector=best"), Told("'best'", "l_foci_per_layer", "selector")),
        (("l-foci", "epsilon=1"), Told("noise_std is 0.0", "without noise", "try 0.01")),
        (("influence", "learner=sgd", "noise_std=1"), Told("noise_std", "a convex objective", "give 0")),
        (("newton-shift", "tradeoff=0"), Told("tradeoff is 0.0", "a positive number", "such as 1e-3")),
        (("newton-shift", "error=small"), Told("'small'", "isotropic, curvature, gradient", "choose one of")),
        (("newton-shift", "dense_limit=-1"), Told("dense_limit=-1", "0 or more", "give")),
        (("newton-shift", "learner=scikit-learn"), Told("'scikit-learn'", "convex, descent, sgd", "learner cannot be")),
        (("rewind", "rewind=0"), Told("rewind=0.0", "above 0, at most 1", "try 0.5")),
        (("rewind", "rewind=1.5"), Told("rewind=1.5", "above 0, at most 1", "try 0.5")),
        (("sekhari", "bound=published"), Told("row_norm is None", "the published bound needs", "try 1.0")),
        (("sekhari", "l2=nan"), Told("l2=nan", "both must be positive", "try 1e-3")),
        (("mixed-linear", "rank=0"), Told("rank is 0", "a positive, finite number", "is needed")),
        (("mixed-linear", "core.loss=logistic"), Told("'logistic'", "one score a class", "use 'cross_entropy'")),
    ],
)
def test_a_setting_that_makes_no_sense(words: tuple[str, ...], told: Told, nowhere: Path, run: Run) -> None:
    explained(run(*PEOPLE, words[0], *settings(*words[1:])), told)
    assert not names_in(nowhere)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("descent-to-delete",), Told("row_norm=1", "longer", "public")),
        (("distributed-descent",), Told("row_norm=1", "longer", "public")),
        (("sekhari", "bound=published", "row_norm=1"), Told("row_norm=1", "longer", "public")),
        (("certified-removal", "bound=worst_case", "row_norm=0.5"), Told("row_norm", "the norm", "a larger one")),
        (("differential-privacy",), Told("noise_std is 0.5", "take at least", "Give that, or raise epsilon")),
        (("mixed-linear",), Told("no column 'core'", "user rows by 0", "mark core rows")),
        (("sekhari", "dense_limit=0"), Told("parameters", "dense_limit=0", "up to")),
        (("fisher", "form=empirical", "dense_limit=0"), Told("dense_limit=0", "are more than", "take form='exact'")),
        (("fisher", "learner.max_iterations=1"), Told("after 1 iterations", "tol=1e-08", "raise max_iterations")),
        (("certified-removal", "loss=squared"), Told("2 outputs", "must agree", "Take the loss for this target")),
        (("sekhari", "loss=squared"), Told("2 outputs", "must agree", "Take the loss for this target")),
        (("newton-shift", "learner.loss=squared"), Told("2 outputs", "must agree", "Take the loss for this target")),
    ],
)
def test_rows_that_the_settings_do_not_admit(words: tuple[str, ...], told: Told, refused: Refused) -> None:
    refused((*PEOPLE, words[0], *settings(*words[1:])), 1, told)


def regression(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(income=frame["hours"] / 2)


@pytest.mark.parametrize("method", LEARNS)
def test_targets_that_the_method_cannot_learn(method: str, refused: Refused) -> None:
    numbers = table("numbers.csv", regression)
    words = ("learn", "w", "--id", "id", "--subject", "who", "--target", "income", "--method", method)
    chosen = settings(*LEARNS[method])
    classes = Told("y holds", "codes from 0 to 1 were expected", "classes=0 for a regression")
    refused((*words, *chosen, "--rows", numbers, "--classes", 2), 1, classes)
    one = table("one.csv", lambda frame: frame.assign(income="low"))
    refused((*words, *chosen, "--rows", one, "--classes", "low,high"), 1, Told("one class", "rows of two", "needs"))
    gap = table("gap.csv", cell("income", None))
    refused((*words, *chosen, "--rows", gap, "--classes", "low,high"), 1, Told("'p4'", "is missing", "leave these"))


@pytest.mark.parametrize("method", list(LEARNS))
def test_a_loss_of_classes_takes_no_target_of_numbers(method: str, refused: Refused) -> None:
    told = {
        "certified-removal": Told("y holds values from", "only 0 and 1", "were expected"),
        "gradient-ascent": Told("have no classes", "no guess among them", "give max_loss"),
    }.get(method, Told("y holds numbers that are not whole", "class codes", "were expected"))
    words = ("learn", "w", "--id", "id", "--subject", "who", "--target", "income", "--method", method)
    refused((*words, *settings(*LEARNS[method]), "--rows", table("numbers.csv", regression)), 1, told)


NET = """from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(INPUTS, 4), nn.NORM, nn.Linear(4, 2)
    def forward(self, x):
        return self.last(self.norm(self.first(x)).tanh())
"""


def net(folder: Path, inputs: int = 5, norm: str = "Identity()") -> str:
    (folder / "net.py").write_text(NET.replace("INPUTS", str(inputs)).replace("NORM", norm))
    return "net.py:Net"


@pytest.mark.parametrize("method", NETWORKS)
def test_a_module_of_ones_own(method: str, refused: Refused, folder: Path, run: Run) -> None:
    own = {"delta-grad": (), "fine-tune": (), "gradient-ascent": ("max_loss=5",), "rewind": ()}.get(
        method, ("damping=1",)
    )
    words = (*PEOPLE, method, *settings("learner.epochs=2", *own), "--model")
    wrong = Told("x (32, 5)", "shapes cannot be multiplied", "The module failed")
    if method == "delta-grad":  # the batch is all rows, and the objective explains
        wrong = Told("float32 (", "shapes cannot be multiplied", "give floating numbers")
    refused((*words, net(folder, 3)), 1, wrong)
    refused((*words, "net.py:Nut"), 1, Told("'Nut'", "class or function", "builds a module"))
    assert run(*words, net(folder)).code == 0
    assert run("request", "w", "--ids", "p4,p5").code == 0
    done = run("work", "w", "--json").json[-1]
    assert done["certificate"]["type"] == "Uncertified"
    assert not {"p4", "p5"} & set(state(Path("w"))["rows"][0])


@pytest.mark.parametrize("method", LINEAR)
def test_a_method_for_linear_models_takes_no_module(method: str, refused: Refused, folder: Path) -> None:
    told = Told(f"{method} takes no model of your own", "its own models only", "Leave --model out")
    refused((*PEOPLE, method, "--model", net(folder)), 2, told)


def test_a_layer_without_factors_is_named(refused: Refused, folder: Path) -> None:
    words = (*PEOPLE, "fisher", *settings("form=kronecker", "damping=1", "learner.epochs=1"), "--model")
    told = Told("'norm' is a LayerNorm", "nn.Linear", "take form='diagonal' or 'exact'")
    refused((*words, net(folder, norm="LayerNorm(4)")), 1, told)


@pytest.mark.parametrize("method", LEARNS)
def test_requests_that_cannot_be_honoured_leave_the_vault(
    method: str, refused: Refused, folder: Path, run: Run
) -> None:
    shutil.rmtree(folder / "v")
    (folder / "v.key").unlink()
    assert run("learn", "v", *PEOPLE[2:], method, *settings(*LEARNS[method])).code == 0
    with Vault.open("v") as opened:
        rows = opened.rows().table()
    assert rows.y is not None
    ids = [str(name) for name in rows.ids]
    low = [name for name, y in zip(ids, rows.y, strict=True) if y == 0]
    refused(("request", "v", "--ids", ",".join(ids)), 1, Told("every row", "cannot be learned", "withdraw the model"))
    refused(("request", "v", "--ids", ",".join(ids[1:])), 1, Told("one class only", "needs two", "Extend the vault"))
    refused(("request", "v", "--ids", ",".join(low)), 1, Told("one class only", "needs two", "Extend the vault"))
    refused(("request", "v", "--ids", "nobody"), 1, Told("'nobody'", "nothing was requested", "Check the spelling"))
    still_works(run)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("certified-deep", "learner.epochs=1", "damping=0"), "Give a damping well above"),
        (("certified-deep", "learner.epochs=1", "max_iterations=1"), "Raise the damping, max_iterations or tol"),
        (("certified-deep", "solver=lissa", "scale=1e-3"), "raise it, enlarge the batches, or use conjugate gradient"),
        (("certified-deep", "hessian_lipschitz=1e-9", "gradient_bound=9"), "Assert a larger one, or none"),
        (("influence", "dense_limit=0", "cg_iterations=1"), "raise damping, l2, cg_tol or cg_iterations"),
        (("sekhari",), "the capacity of the fit is used up"),
    ],
)
def test_a_step_that_fails_is_honoured_by_learning_again(
    words: tuple[str, ...], why: str, folder: Path, run: Run
) -> None:
    assert run(*PEOPLE, words[0], *settings(*words[1:])).code == 0
    assert run("request", "w", "--ids", "p4,p5").code == 0
    ran = run("work", "w")
    assert ran.code == 0
    assert "The model was learned again" in ran.out
    assert why in ran.out
    assert not {"p4", "p5"} & set(state(folder / "w")["rows"][0])
