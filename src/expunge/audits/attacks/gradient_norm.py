r"""Gradient norm: a trained row pulls less at the weights than one the model never saw (Nasr et al. 2019; white box).

    score(x, y) = -|| grad_w loss(w; x, y) ||_2

At a minimum the gradients of the rows learned from cancel, and where a model can learn each row by heart each of them
is near 0. The norm is of the loss alone, without the penalty, which is the same for all rows. For linear scores W [x 1]
it is the closed form ||r|| ||[x 1]||, r (k,) the slope of the loss by the scores: the residual p - onehot(y) of a
softmax. So there it adds to the loss only how long the row is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from expunge.audits.metrics import Floats
from expunge.learners.inputs import in_memory
from expunge.learners.learner import one_thread
from expunge.objective import Objective
from expunge.rows import Rows

BATCH = 256  # rows whose gradients are held at once


def gradient_norms(objective: Objective, w: Tensor, rows: Rows) -> Floats:
    """The norm of each row's loss gradient, (n,); minus it is the membership score.

    Args:
        objective, w: of the model under attack; `white_box.opened` gives both for a method's release.

    Raises:
        InputError: the rows do not fit the model.
    """
    with one_thread():
        parts = [
            torch.linalg.vector_norm(objective.row_gradients(w, in_memory([table], rows.schema)), dim=1)
            for table in rows.batches(BATCH)
        ]
    return np.concatenate([part.detach().cpu().double().numpy() for part in parts]) if parts else np.empty(0)
