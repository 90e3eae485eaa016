"""Planted bugs of k-means: each defect of the published code, and what its certificate rests on."""

from __future__ import annotations

from .mutant import Mutant

TESTS = "tests/methods/test_k_means.py"
LAW = "tests/maths/test_initial_centres.py"
STEPS = "tests/maths/test_lloyd.py"

CLUSTERING = (
    Mutant(
        "the first initial centre is not recorded",
        "maths/quantised_k_means.py",
        "return len(keys) > 0 and not np.isin(keys, points.keys).any()",
        "return len(keys) > 0 and not np.isin(keys[1:], points.keys).any()",
        f"{TESTS}::test_deleting_any_initial_centre_starts_again_the_first_one_included",
    ),
    Mutant(
        "a mean is the old one less x over s",
        "maths/quantised_k_means.py",
        "centroids = self._centroids(slice(len(run)), partition, before)",
        "centroids = self._centroids(slice(len(run)), Partition(run.partition.sizes, partition.sums), before)",
        f"{TESTS}::test_the_worked_example",
    ),
    Mutant(
        "a row is assigned by the centroids of its own step",
        "maths/quantised_k_means.py",
        "np.concatenate([run.initial.numpy()[None], run.centroids.numpy()])[: len(run)]",
        "np.concatenate([run.centroids.numpy(), run.initial.numpy()[None]])[: len(run)]",
        f"{TESTS}::test_a_row_leaves_each_steps_cluster_by_the_centroids_of_the_step_before",
    ),
    Mutant(
        "a row is set to zero and stays",
        "maths/quantised_k_means.py",
        "            partition = partition + change if sign > 0 else partition - change\n",
        "            gone = Partition(0 * change.sizes, change.sums)\n"
        "            partition = partition + change if sign > 0 else partition - gone\n",
        f"{TESTS}::test_a_row_is_removed_and_not_set_to_zero",
    ),
    Mutant(
        "only the touched cluster is made again",
        "maths/quantised_k_means.py",
        "        other = (centroids != run.centroids.numpy()).any((1, 2))\n",
        "        touched = (partition.sizes != run.partition.sizes).numpy()[:, :, None]\n"
        "        centroids = np.where(touched, centroids, run.centroids.numpy())\n"
        "        other = (centroids != run.centroids.numpy()).any((1, 2))\n",
        f"{TESTS}::test_all_centroids_are_made_again_for_the_least_size_follows_the_number_of_rows",
    ),
    Mutant(
        "an empty cluster has no mean",
        "maths/lloyd.py",
        "return np.where((sizes < least) | (sizes == 0), share * means + (1.0 - share) * before, means)",
        "return np.where(sizes == 0, np.nan, np.where(sizes < least, share * means + (1.0 - share) * before, means))",
        f"{STEPS}::test_means_are_correctly_rounded_and_an_empty_cluster_stays_where_it_was",
    ),
    Mutant(
        "a step that changed is not run on",
        "maths/quantised_k_means.py",
        "int(other.argmax()) + 1 if other.any() else len(run)",
        "len(run)",
        f"{TESTS}::test_only_the_steps_after_the_first_changed_centroid_are_run_again",
    ),
    Mutant(
        "one step too many is taken for known",
        "maths/quantised_k_means.py",
        "int(other.argmax()) + 1 if",
        "int(other.argmax()) + 2 if",
        f"{TESTS}::test_only_the_steps_after_the_first_changed_centroid_are_run_again",
    ),
    Mutant(
        "a new row never wins a race",
        "maths/quantised_k_means.py",
        "return np.array_equal(self._started(Points.joined([winners, points])).keys.numpy(), keys)",
        "return True",
        f"{TESTS}::test_fewer_rows_than_clusters_make_as_many_clusters",
    ),
    Mutant(
        "noise goes by place",
        "methods/k_means.py",
        '"centre", level, node, choice), keys)',
        '"centre", level, node, choice), np.arange(len(keys), dtype=np.uint64))',
        f"{TESTS}::test_the_order_of_the_rows_and_their_blocks_do_not_matter",
    ),
    Mutant(
        "centres are drawn by distance, not by its square",
        "maths/initial_centres.py",
        "chances = weights * nearest\n",
        "chances = weights * np.sqrt(nearest)\n",
        f"{LAW}::test_the_law_is_that_of_k_means_plus_plus[8-2-2-False]",
    ),
    Mutant(
        "a lattice without its phase",
        "maths/lloyd.py",
        "side * (shift + np.round(np.where(fine, 0.0, multiples) - shift))",
        "side * np.round(np.where(fine, 0.0, multiples) + 0 * shift)",
        f"{TESTS}::test_the_worked_example",
    ),
    Mutant(
        "the nodes above keep what they were",
        "maths/cluster_tree.py",
        "if node in changed\n",
        "if node in changed and not before\n",
        f"{TESTS}::test_quantised_leaves_are_left_as_they_are_where_no_centroid_moves",
    ),
    Mutant(
        "a row's leaf goes by its id",
        "learners/points.py",
        '("k-means", "leaf"), table.owners, leaves)',
        '("k-means", "leaf"), table.keys, leaves)',
        f"{TESTS}::test_rows_are_dealt_by_owner_and_only_the_touched_leaf_is_clustered_again",
    ),
    Mutant(
        "the retained rows are read for nothing",
        "learners/points.py",
        "rows.tables() if wanted is None or wanted else ()",
        "rows.tables()",
        f"{TESTS}::test_new_rows_that_move_no_centroid_read_none_either",
    ),
)
