"""The experiments on why people forget, in their quick form, run as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_the_quick_run_finds_mislabelled_rows_and_half_a_poison_still_works(tmp_path: Path) -> None:
    command = [sys.executable, "experiments/why_people_forget/run.py", "--quick", "--only", "mislabelled", "poisoned"]
    ran = subprocess.run(
        [*command, "--out", tmp_path / "found.json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    (labels,) = found["mislabelled"]
    precision = {by: line["average precision"] for by, line in labels["recovery"].items()}
    assert min(precision[by] for by in ("influence", "self-influence", "loss")) > 5 * precision["random"]
    assert labels["forgotten"]["40"] > labels["before"] + 0.02 > labels["random"]["40"]
    after = {(line["attack"], line["forgotten"]): line["after"]["success"] for line in found["poisoned"]}
    before = {line["attack"]: line["before"]["success"] for line in found["poisoned"]}
    assert before["backdoor"] > 0.5
    assert after["backdoor", "all"] < 0.05
    assert after["backdoor", "half"] > 0.2  # what was not found still works
