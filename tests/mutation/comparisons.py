"""Planted bugs of comparisons and plans. As in `mutants`: an edit, and the test that must catch it."""

from __future__ import annotations

from .mutant import Mutant

CELLS = "tests/comparisons/test_cells.py"
PLAIN = "tests/comparisons/test_plain_training.py"
PLANS = "tests/planning/test_plans.py"

COMPARISONS = (
    Mutant(
        "a cell is found under another seed",
        "comparisons/cell.py",
        "self.case.digest, str(self.seed))",
        "self.case.digest)",
        f"{CELLS}::test_whatever_decides_a_cell_is_in_its_digest",
    ),
    Mutant(
        "a cell is found that was looked at on other rows",
        "comparisons/case.py",
        'parts += [f"{kind}:{rows_digest(rows)}" for kind, rows in sorted(self.on.items())]',
        "parts += sorted(self.on)",
        f"{CELLS}::test_whatever_decides_a_cell_is_in_its_digest",
    ),
    Mutant(
        "the noise of a cell is drawn anew",
        "comparisons/step_cell.py",
        'return NoiseKey(hashlib.blake2b(text.encode(), digest_size=32, person=b"expunge-compare").digest(), number)',
        "return NoiseKey.fresh(number)",
        f"{CELLS}::test_a_cell_is_a_function_of_its_content",
    ),
    Mutant(
        "noisy training shares the references of plain training",
        "comparisons/plain_training.py",
        'noiseless = not settings_of(inner).get("noise_std")',
        "noiseless = True",
        f"{PLAIN}::test_enough_methods_learn_plainly_and_noise_ends_it",
    ),
    Mutant(
        "the budget of a plan is ignored",
        "planning/choice.py",
        "within = [route for route in ordered if budget is None or _seconds(route) <= budget]",
        "within = ordered",
        f"{PLANS}::test_the_quickest_route_that_is_strong_enough_and_fits_is_taken",
    ),
)
