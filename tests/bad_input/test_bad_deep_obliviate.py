"""What DeepObliviate cannot take, as a user sees it; and a module of one's own, from learning to a stitched release."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.cli.conftest import LEARN

from .conftest import Run, Told, state, still_works

Refused = Callable[..., object]
PEOPLE = ("--rows", "people.csv", *LEARN, "deep-obliviate")
NET = """
from torch import nn


def net(schema):
    return nn.Sequential(nn.Linear(INPUTS, 4), nn.Tanh(), nn.Linear(4, 2))
"""


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("blocks=0", Told("blocks=0", "at least 1", "was expected")),
        ("threshold=-1", Told("threshold=-1.0", "0 (never stop) or more", "such as 1e-3")),
        ("threshold=nan", Told("threshold=nan", "0 (never stop) or more", "such as 1e-3")),
        ("residuals=small", Told("'small'", "normalised|absolute", "residuals is")),
        ("learner=scikit-learn", Told("'scikit-learn'", "convex, descent, sgd", "learner cannot be")),
        ("learner.epochs=0", Told("epochs=0", "at least 1", "was expected")),
        ("steps=3", Told("'steps'", "has no field", "there are: blocks")),
    ],
)
def test_a_setting_that_cannot_be_is_explained(setting: str, told: Told, refused: Refused) -> None:
    refused(("learn", "w", *PEOPLE, "--set", setting), 2, told)


def test_it_cannot_start_from_a_model_trained_elsewhere(refused: Refused, folder: Path) -> None:
    save_file({"w": torch.zeros(1)}, folder / "weights.safetensors")
    told = Told("given weights", "cannot start", "learn from the rows instead")
    refused(("learn", "w", *PEOPLE, "--weights", "weights.safetensors"), 1, told)


def test_a_module_of_ones_own_is_stitched_and_the_receipt_says_so(refused: Refused, folder: Path, run: Run) -> None:
    stops = ("--set", "blocks=16", "--set", "threshold=inf", "--set", "learner.batch_size=4", "--seed", 1)
    (folder / "net.py").write_text(NET.replace("INPUTS", "3"))
    refused(
        ("learn", "w", *PEOPLE, *stops, "--model", "net.py:net"),
        1,
        Told("(4, 5)", "shapes cannot be multiplied", "The module failed"),
    )
    (folder / "net.py").write_text(NET.replace("INPUTS", "5"))
    assert run("learn", "w", *PEOPLE, *stops, "--model", "net.py:net").code == 0
    kinds = []
    for name in ("p4", "p6"):
        assert run("request", "w", "--ids", name).code == 0
        certificate = run("work", "w", "--json").json[-1]["certificate"]
        kinds.append(certificate["type"])
        if kinds[-1] == "Uncertified":
            assert "still know the forgotten rows" in certificate["why"]
        assert name not in state(Path("w"))["rows"][0]
    assert "Uncertified" in kinds


def test_requests_that_cannot_be_honoured_leave_the_vault(refused: Refused, folder: Path, run: Run) -> None:
    shutil.rmtree(folder / "v")
    (folder / "v.key").unlink()
    assert run("learn", "v", *PEOPLE, "--set", "blocks=5").code == 0
    everybody = ",".join(map(str, state(Path("v"))["rows"][0]))
    refused(("request", "v", "--ids", everybody), 1, Told("every row", "cannot be learned", "withdraw the model"))
    refused(("request", "v", "--ids", "nobody"), 1, Told("'nobody'", "nothing was requested", "Check the spelling"))
    still_works(run)
