"""How close two logits must lie for two right programs to prefer different ones.

Two programs that compute the same GPT-2 in float32 add in different orders, so their logits differ
in the last bits, and where the two best logits differ by less, their greedy tokens may too. `tie_tolerance`
bounds that difference:

- A sum of n rounded products has, with probability at least ``1 - 2 exp(-l**2 / 2)``, a relative error
  of at most ``l sqrt(n) u`` (Higham and Mary 2019, theorem 2.4), u = 2**-24 in float32. The longest sum
  of a layer has n = its inner width; l = 4 leaves 7 in 10,000.
- The residual stream is the sum of the embedding and 2 L sublayers, and the last norm and the output
  layer come after: 2 L + 2 such errors, independent, so they add as the root of the sum of squares:
  ``d = 4 sqrt(n) sqrt(2 L + 2) u``, relative to the length of the stream. That layers do not enlarge
  the errors of those before them is an assumption (each reads a normalised stream and adds to it);
  the tests measure it against float64.
- A logit is the product of a row w of the output layer and the normalised stream h, whose length is
  at most ``sqrt(width) max|g| + |b|`` for a norm with weight g and bias b. So each logit of each program is
  off by at most ``|w| |h| d``, and the gap between two logits in two programs by four times that.
"""

from __future__ import annotations

import math

import torch
from transformers import GPT2LMHeadModel

_ROUNDING = 2.0**-24
_CERTAINTY = 4.0


@torch.no_grad()
def tie_tolerance(model: GPT2LMHeadModel) -> float:
    """Largest difference of two logits at which float32 may decide either way.

    Parameters
    ----------
    model : GPT2LMHeadModel
        In float32.
    """
    config, norm = model.config, model.transformer.ln_f
    longest_sum = config.n_inner or 4 * config.n_embd
    relative = _CERTAINTY * _ROUNDING * math.sqrt(longest_sum * (2 * config.n_layer + 2))
    stream = math.sqrt(config.n_embd) * float(norm.weight.abs().max()) + float(norm.bias.norm())
    return 4 * float(model.lm_head.weight.norm(dim=1).max()) * stream * relative
