"""How a tree of the forest is laid out as words, and the settings that its kernels read.

A tree is its nodes in preorder. A node is

    SIZE ROWS MEMBERS FEATURE VALUE RIGHT  totals...  then, at a decision, features... and, at a leaf, keys...

SIZE: words of the node. ROWS: weight of its rows. MEMBERS: their number. FEATURE: of the split, -1 at a leaf. VALUE:
its code. RIGHT: words from the node to its right child (the left one follows the node); 0 where the children stand in
parts of their own. totals: rows of classes 1..C-1, or the sum of targets and the sum of their hashes. keys: two words a
row, sorted. A feature that was looked at is

    feature count extra  values... equal... left... channels...

with `count` = at most k+1 values of the node, in order: those of smallest priority. equal: rows at the value. left:
rows that go left at it. channels: of those, rows of classes 1..C-1, or the sum of targets. `extra`: which value is the
(k+1)-th by priority, -1 where there are fewer. It is a candidate only where another is the maximum, which is none.

The first `CUT` levels of a tree are its crown, and each subtree below is a part of its own.
"""

from __future__ import annotations

SIZE, ROWS, MEMBERS, FEATURE, VALUE, RIGHT, TOTALS = range(7)
SMALL = 24  # a node of fewer members keeps no counts: whoever needs them looks at its rows again
COUNTED = 3  # words before the values of a feature
MISSING = -(2**31)  # the code of a missing value: below all others

# Where each setting stands in the array that kernels are given.
(
    FEATURES,  # columns
    CLASSES,  # 0 for a regression
    NODE_TOTALS,  # totals of a node
    CHANNELS,  # channels of a candidate
    CANDIDATES,  # k
    EXAMINED,  # how many features that vary a node looks at
    MAX_DEPTH,
    RANDOM_DEPTH,  # levels with one candidate of one feature
    MIN_SPLIT,
    MIN_LEAF,
    ENTROPY,  # 1 for entropy
    CUT,
    DRY,  # 1: nothing is built, only counted
) = range(13)
SETTINGS = 13

# What the kernels count.
VISITED, REFRESHED, REFRESHED_ROWS, REBUILT, REBUILT_ROWS, REBUILT_NODES, COLLAPSED = range(7)
COUNTERS = 7

# A bucket of the store holds r rows: keys (2r words, sorted), then column after column the codes (p times r words), the
# lower and the upper halves of the targets, and the weights: most who read it want one column.
INDEXED = 200_000  # rows of a store up to which it has an index
STORE_BITS = 7  # 128 buckets, by the highest bits of the key
BESIDE_CODES = 5  # words of a row beside its codes
