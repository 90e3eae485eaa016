"""Plain training, for methods that treat it as a black box: `sgd`, `convex`, `scikit_learn`."""
