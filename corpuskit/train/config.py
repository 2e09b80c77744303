"""Everything that decides a training run, checked before anything is loaded."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

from corpuskit.errors import ConfigError
from corpuskit.models.configurations import ModelConfig

Schedule = Literal["cosine", "constant"]
Dtype = Literal["auto", "float32", "bfloat16"]

# These only decide what is watched and kept; a run may be resumed with others.
_OBSERVATION = frozenset(
    {"checkpoint_every", "keep_checkpoints", "eval_every", "eval_sequences", "sample_every",
     "sample_prompt", "sample_tokens"}
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of `fit`. The defaults train the nano model in a few minutes on two cores.

    Attributes
    ----------
    model : str or ModelConfig
        A size (nano, gpt2, medium, large, xl) or a shape of one's own.
    steps : int
        Optimiser updates.
    batch_size, sequence_length : int
        Sequences per forward pass, and tokens in each. One update sees
        ``batch_size * sequence_length * gradient_accumulation`` tokens.
    stride : int or None
        Tokens between the beginnings of sequences; None: `sequence_length`, each token once an
        epoch. A small corpus seen many times needs a smaller one, or the model learns texts by
        their position: the demo's 31,000 tokens were learned by heart (loss 0.02), yet text that
        went on from another position was word salad; with 16 it held together.
    learning_rate : float
        Peak of the schedule. 1e-3 suits nano; GPT-3 used 6e-4 for 124M (Brown et al. 2020, table 2.1).
    warmup_steps : int
        Updates of linear warm-up from 0.
    schedule : {"cosine", "constant"}
        After the warm-up: cosine down to a tenth of the peak (Hoffmann et al. 2022), or the peak.
    weight_decay : float
        Decoupled decay of matrices and embeddings; biases and norms have none.
    betas : tuple of float
        AdamW's averages.
    grad_clip : float
        Largest L2 norm of an update's gradient; 0 does not clip.
    gradient_accumulation : int
        Forward passes per update.
    seed : int
        Of weights, order and dropout.
    held_out : float
        Share of the sequences, the last of the dataset, that are never trained on.
    eval_every, eval_sequences : int
        Every how many updates (0: never) the loss on how many held-out sequences is measured.
    checkpoint_every, keep_checkpoints : int
        Every how many updates a checkpoint is written (0: only the last), and how many stay.
    sample_every, sample_tokens : int
        Every how many updates (0: never) a text is generated, and how long.
    sample_prompt : str
        What it begins with; empty: a new document.
    threads : int or None
        CPU threads of torch. Sums depend on it in the last bits, so it is kept in checkpoints;
        None: all cores at the first start, the recorded number afterwards.
    device : str
        A torch device, or "auto": CUDA where there is one.
    dtype : {"auto", "float32", "bfloat16"}
        Of matrix products. auto: bfloat16 autocast on CUDA, float32 on the CPU. Weights and
        optimiser are float32 always.
    compile : bool
        Run the model through torch.compile: a minute at the start, faster steps on CUDA.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str | ModelConfig = "nano"
    steps: int = 300
    batch_size: int = 8
    sequence_length: int = 128
    stride: int | None = None
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    schedule: Schedule = "cosine"
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0
    gradient_accumulation: int = 1
    seed: int = 0
    held_out: float = 0.02
    eval_every: int = 100
    eval_sequences: int = 64
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    sample_every: int = 0
    sample_prompt: str = ""
    sample_tokens: int = 64
    threads: int | None = None
    device: str = "auto"
    dtype: Dtype = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        context = self.shape.context_length
        for name, lowest, highest in (
            ("steps", 1, math.inf), ("batch_size", 1, math.inf), ("sequence_length", 2, context),
            ("stride", 1, self.sequence_length),
            ("warmup_steps", 0, math.inf), ("gradient_accumulation", 1, math.inf),
            ("seed", 0, math.inf), ("held_out", 0, 0.5), ("weight_decay", 0, math.inf),
            ("grad_clip", 0, math.inf), ("eval_every", 0, math.inf), ("eval_sequences", 1, math.inf),
            ("checkpoint_every", 0, math.inf), ("keep_checkpoints", 1, math.inf),
            ("sample_every", 0, math.inf), ("sample_tokens", 1, math.inf),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is None:
                continue
            if not lowest <= value <= highest:
                allowed = f"at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
                raise ConfigError(f"must be {allowed}, not {value}", where=f"train.{name}")
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"must be above 0, not {self.learning_rate}", where="train.learning_rate")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"must be two numbers in [0, 1), not {self.betas}", where="train.betas")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"must be at least 1, not {self.threads}", where="train.threads")
        for name, kind in (("schedule", Schedule), ("dtype", Dtype)):
            if getattr(self, name) not in get_args(kind):
                raise ConfigError(
                    f"must be one of {', '.join(get_args(kind))}, not {getattr(self, name)!r}",
                    where=f"train.{name}",
                )

    @property
    def shape(self) -> ModelConfig:
        """The model's shape, a named size resolved."""
        return self.model if isinstance(self.model, ModelConfig) else ModelConfig.preset(self.model)

    @property
    def tokens_per_update(self) -> int:
        return self.batch_size * self.sequence_length * self.gradient_accumulation

    def learning_rate_at(self, update: int) -> float:
        """The learning rate of update `update`, counted from 0."""
        if update < self.warmup_steps:
            return self.learning_rate * (update + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.learning_rate
        progress = (update - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed: all that reaches the weights, but threads."""
        fields = {**asdict(self), "model": asdict(self.shape), "betas": list(self.betas)}
        return {name: value for name, value in fields.items() if name not in {*_OBSERVATION, "threads"}}
