"""Scores of the field, each a pure function: its formula, its source, and what is wrong with it.

One file for each concept. Accuracies are shares in [0, 1]; log-probabilities are (n, classes); margins phi are
(models, rows), one row of the array for each model. docs/audits.md has them in one table.
"""
