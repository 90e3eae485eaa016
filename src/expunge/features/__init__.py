"""Raw columns, images and text to tensors, with statistics that forget.

`Pipeline(features, method)` is a Method; `features` is a tuple of `Numeric`, `Categorical`, `Images`, `FrozenText` and
`FrozenNetwork`, or `tabular(rows)`.
"""

from expunge.features.categorical import Categorical
from expunge.features.feature import Feature
from expunge.features.frozen_network import FrozenNetwork
from expunge.features.images import Images
from expunge.features.numeric import Numeric
from expunge.features.pipeline import Pipeline, PipelineRecord, offers
from expunge.features.tabular import Features, declare_public, tabular
from expunge.features.text import FrozenText

__all__ = [
    "Categorical",
    "Feature",
    "Features",
    "FrozenNetwork",
    "FrozenText",
    "Images",
    "Numeric",
    "Pipeline",
    "PipelineRecord",
    "declare_public",
    "offers",
    "tabular",
]
