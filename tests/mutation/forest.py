"""Planted bugs of the forest: each published defect of the reference (A to F), and what exactness rests on.

Kernels run as plain Python here (NUMBA_DISABLE_JIT in zygote.py), so the tests that catch them are tiny.
"""

from __future__ import annotations

from .mutant import Mutant

TINY = "tests/mutation/test_tiny_forest.py"
EQUAL = f"{TINY}::test_forgetting_equals_learning_without"
UPDATE, CHANGE, NODE = "kernels/forest_update.py", "kernels/forest_change.py", "kernels/forest_node.py"

FOREST = (
    Mutant(
        "defect A: a value without rows stays a threshold",
        CHANGE,
        "        if equal[i] == 0:\n",
        "        if equal[i] < 0:\n",
        EQUAL,
    ),
    Mutant(
        "defect A': the split stays though another is now the best",
        UPDATE,
        "            and feature == old[s + at.FEATURE]\n",
        "            and feature == old[s + at.FEATURE] or True\n",
        EQUAL,
    ),
    Mutant(
        "defect B: no candidate is drawn for a vanished one",
        "kernels/forest_refill.py",
        "    if size > 0:\n",
        "    if size > 1000:\n",
        EQUAL,
    ),
    Mutant(
        "defect C: after a deletion candidates are drawn from another law",
        CHANGE,
        "refilled(category, x, t, w, have, values, most,",
        "refilled(category, x, t, w, have, values ^ U64(1), most,",
        EQUAL,
    ),
    Mutant(
        "defect D: min_split and min_leaf are not looked at after a deletion",
        UPDATE,
        "        if not stops(out, o, depth, p):\n",
        "        if not was_leaf or not stops(out, o, depth, p):\n",
        f"{TINY}::test_sizes_of_nodes_hold_after_forgetting",
    ),
    Mutant(
        "defect E: a feature that became constant is followed by no other",
        CHANGE,
        "if (old[s + 1] > 1) != (out[o + 1] > 1):",
        "if False:",
        f"{TINY}::test_a_column_that_becomes_constant_is_replaced",
    ),
    Mutant(
        "defect F: ties go by the order in which features were looked at",
        NODE,
        "(score == best and out[o] < feature)",
        "False",
        f"{TINY}::test_ties_go_to_the_lower_feature",
    ),
    Mutant(
        "a rename sends the forgotten row by the new threshold",
        UPDATE,
        "changes[0][feature], one, zero, was,",
        "changes[0][feature], one, zero, value,",
        EQUAL,
    ),
    Mutant(
        "the k+1-th value is a candidate",
        NODE,
        "or rows - n < least or i == extra:",
        "or rows - n < least:",
        f"{TINY}::test_the_words_are_those_of_the_twin",
    ),
    Mutant(
        "the forgotten row stays in the store",
        "maths/forest.py",
        "stay = ~_among(before[0], leaving) if len(leaving) else np.ones(len(before[0]), bool)",
        "stay = np.ones(len(before[0]), bool)",
        EQUAL,
    ),
    Mutant(
        "a new row never brings a new candidate",
        CHANGE,
        "(count < most or rank(key, x) < last)",
        "(count < most)",
        f"{TINY}::test_new_rows_equal_learning_all_together",
    ),
    Mutant(
        "leaves list their rows in the order of the old leaves",
        UPDATE,
        "        ordered = keys_after(keys, changes, here)\n",
        "        ordered = keys\n",
        EQUAL,
    ),
    Mutant(
        "only the first of several values that follow is drawn",
        "kernels/forest_refill.py",
        "while kept + added < most:",
        "while kept + added < most and added < 1:",
        EQUAL,
    ),
    Mutant(
        "a leaf still lists the row that left",
        CHANGE,
        "        if changes[2][e] < 0:\n            after[gone]",
        "        if changes[2][e] < -1:\n            after[gone]",
        EQUAL,
    ),
    Mutant(
        "all nodes draw alike",
        NODE,
        "return siphash(secret[0], secret[1], node,",
        "return siphash(secret[0], secret[1], U64(0),",
        f"{TINY}::test_the_words_are_those_of_the_twin",
    ),
)
