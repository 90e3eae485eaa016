"""Planted bugs of the methods that keep rows: nearest neighbours and the support vector machine."""

from __future__ import annotations

from .mutant import Mutant

NEIGHBOURS = "tests/methods/test_nearest_neighbours.py"
KEPT = "tests/learners/test_kept_rows.py"
PATH = "tests/maths/test_decremental_path.py"
SOLUTION = "tests/maths/test_margin_solution.py"
MACHINE = "tests/methods/test_support_vector_machine.py"
TIES = f"{NEIGHBOURS}::test_of_equally_near_rows_the_one_with_the_smaller_key_is_nearer"
JOINED = f"{KEPT}::test_a_bucket_and_its_sibling_become_one_where_both_fit"
ERASED = f"{KEPT}::test_one_row_touches_one_bucket_and_its_bytes_are_erased"
ROADS = f"{SOLUTION}::test_every_road_ends_at_the_same_bits"
GONE = f"{MACHINE}::test_support_vectors_leave_without_reading_a_row_and_their_values_are_gone"
HANGS = f"{MACHINE}::test_all_weights_at_the_bound_and_b_that_hangs_on_a_row_without_weight"

NEAREST_NEIGHBOURS = (
    Mutant(
        "of equally near rows the later is nearer",
        "kernels/pairwise.py",
        "            if value < best[i, k - 1]:",
        "            if value <= best[i, k - 1]:",
        TIES,
        also=("kernels/pairwise.py", "best[i, place - 1] > value:", "best[i, place - 1] >= value:"),
    ),
    Mutant(
        "rows stand in the order they came in",
        "learners/kept_rows.py",
        "    table = in_key_order(rows)\n",
        "    table = rows.table()\n",
        TIES,
    ),
    Mutant(
        "a tombstone in a row's place",
        "learners/kept_rows.py",
        "        after[name] = _taken(bucket, stays)\n",
        "        after[name] = Bucket(_keys(bucket.keys.numpy() * stays.numpy()), bucket.x, bucket.y)\n",
        ERASED,
    ),
    Mutant(
        "buckets are never joined",
        "maths/key_buckets.py",
        "        node = above\n",
        "        break\n",
        JOINED,
    ),
    Mutant(
        "distances from a matrix product",
        "kernels/pairwise.py",
        "    p, n = bt.shape\n    for start in range(0, n, TILE):\n        stop = min(n, start + TILE)\n"
        "        for i in range(len(a)):\n            for r in range(start, stop):\n                out[i, r] = 0.0\n"
        "            for j in range(p):\n                value = a[i, j]\n"
        "                for r in range(start, stop):\n                    gap = value - bt[j, r]\n",
        "    out[:] = (a * a).sum(1)[:, None] + (bt * bt).sum(0) - 2 * (a @ bt)\n    p, n = bt.shape\n"
        "    for start in ():\n        for i in range(len(a)):\n            for j in range(p):\n"
        "                for r in range(start, start):\n                    gap = a[i, j] - bt[j, r]\n",
        "tests/maths/test_nearest_search.py::test_distances_do_not_depend_on_other_rows",
    ),
)

SUPPORT_VECTOR_MACHINE = (
    Mutant(
        "R is not shrunk",
        "maths/decremental_path.py",
        "        if last:\n            self.inverse = self.inverse - ",
        "        if last:\n            _ = self.inverse - ",
        f"{PATH}::test_r_is_the_inverse_after_growing_and_shrinking",
    ),
    Mutant(
        "rows without weight never join the margin",
        "maths/decremental_path.py",
        "        nearing = self.outside & np.where(self.at_bound, dg > 0, dg < 0)\n",
        "        nearing = self.outside & np.where(self.at_bound, dg > 0, False)\n",
        f"{PATH}::test_worked_example_in_one_dimension",
    ),
    Mutant(
        "g is not updated",
        "maths/decremental_path.py",
        "        self.g += length * dg\n",
        "",
        f"{PATH}::test_a_path_ends_at_the_sets_of_the_optimum[1-rbf]",
    ),
    Mutant(
        "b stays where it was when the margin is empty",
        "maths/decremental_path.py",
        "        self.g += self.dual.y * sign * distance[row]\n",
        "",
        f"{PATH}::test_where_the_whole_margin_leaves_b_moves_until_a_row_joins",
    ),
    Mutant(
        "weights of the road instead of polished ones",
        "maths/margin_solution.py",
        "            return replace(found, steps=steps), alpha, steps, reached\n",
        "            return replace(found, alpha=alpha, steps=steps), alpha, steps, reached\n",
        ROADS,
    ),
    Mutant(
        "doubt is not looked for",
        "maths/margin_solution.py",
        "            return Solution(alpha, b, margin, bound, True, repairs=repairs) if clear else None\n",
        "            return Solution(alpha, b, margin, bound, True, repairs=repairs)\n",
        f"{SOLUTION}::test_clear_sets_are_read_off_every_point_of_the_tolerance",
    ),
    Mutant(
        "a path is followed from sets in doubt",
        "maths/margin_machine.py",
        "        if not machine.clear or len(np.unique(after.side)) < 2:\n",
        "        if len(np.unique(after.side)) < 2:\n",
        f"{MACHINE}::test_a_machine_in_doubt_is_learned_from_nothing",
    ),
    Mutant(
        "copies count once",
        "maths/margin_machine.py",
        "    return first[order], rank[group], counts[order]\n",
        "    return first[order], rank[group], np.ones_like(counts)\n",
        "tests/oracles/test_support_vector_machine_oracle.py::test_copies_count_as_often_as_they_stand",
    ),
    Mutant(
        "support vectors leave without a path",
        "maths/margin_machine.py",
        "        if not (machine.clear and machine.inside):\n            return False\n",
        "        return True\n",
        GONE,
    ),
    Mutant(
        "a row leaves at no cost where b hangs on it",
        "maths/margin_machine.py",
        "        if not (machine.clear and machine.inside):\n",
        "        if not machine.clear:\n",
        HANGS,
    ),
)

KEPT_ROWS = NEAREST_NEIGHBOURS + SUPPORT_VECTOR_MACHINE
