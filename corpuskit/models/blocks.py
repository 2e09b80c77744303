"""The transformer blocks of a model: what is sharded apart, and what may be trained alone.

Every block of transformers derives from `GradientCheckpointingLayer`, whatever the architecture calls it.
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer


def blocks_of(model: PreTrainedModel) -> list[nn.Module]:
    """The blocks in the order in which they lie in the model; of an encoder-decoder, of both.

    Empty for models whose blocks do not say that they are some.
    """
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
