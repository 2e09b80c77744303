"""Everything that decides a training run, checked before anything is loaded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Tag

from corpuskit.errors import ConfigError
from corpuskit.models.configurations import ModelConfig
from corpuskit.models.hub import is_hub_name, local_directory
from corpuskit.train.objectives import (
    AnyObjective,
    CausalLM,
    MaskedLM,
    Pairs,
    PrefixLM,
    SpanCorruption,
    SupervisedFineTuning,
    by_name,
)

Schedule = Literal["cosine", "linear", "wsd", "constant"]
Dtype = Literal["auto", "float32", "bfloat16"]
Sequences = Literal["windows", "packed", "documents"]
EmbeddingInit = Literal["constituents", "mean", "multivariate", "zero"]
Trained = Literal["all", "blocks"]
Parallel = Literal["data", "sharded"]


def _kind_of_objective(value: Any) -> str | None:
    """Which of the forms below a recipe means, so that an error speaks of that one alone."""
    if isinstance(value, str):
        return "text"
    return value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)


ObjectiveSetting = Annotated[
    Annotated[str, Tag("text")]
    | Annotated[CausalLM, Tag("causal")]
    | Annotated[SupervisedFineTuning, Tag("sft")]
    | Annotated[SpanCorruption, Tag("span_corruption")]
    | Annotated[PrefixLM, Tag("prefix")]
    | Annotated[Pairs, Tag("pairs")]
    | Annotated[MaskedLM, Tag("masked")],
    Discriminator(
        _kind_of_objective,
        custom_error_type="objective",
        custom_error_message="name must be causal, sft, span_corruption, prefix, pairs or masked",
    ),
]

# These only decide what is watched and kept; a run may be resumed with others.
_OBSERVATION = frozenset(
    {
        "checkpoint_every",
        "keep_checkpoints",
        "sample_every",
        "sample_prompt",
        "sample_tokens",
        "tensorboard",
        "parallel",
    }
)
# These too, unless the run stops by what they measure.
_MEASURING = frozenset({"eval_every", "eval_sequences"})


@dataclass(frozen=True)
class TrainConfig:
    """Configuration of `fit`. The defaults train the nano model in a few minutes on two cores.

    Attributes
    ----------
    model : str or ModelConfig
        A size (`ModelConfig.preset`) or a shape of one's own, with fresh weights; or the directory or the
        hub name (``owner/model`` or ``owner/model@revision``) of a model to go on from.
    objective : str or one of corpuskit.train.objectives
        causal, sft, span_corruption, prefix, pairs or masked, or one of them with its settings.
    sequences : {"windows", "packed", "documents"} or None
        What a sample is: tokens of the stream whatever they belong to, several whole documents that do
        not see one another, or one document; None: what the objective is made for.
    steps : int
        Optimiser updates.
    batch_size, sequence_length : int
        Sequences per forward pass over all processes, and tokens in each (of an encoder-decoder: in its
        input). One update sees ``batch_size * sequence_length * gradient_accumulation`` tokens.
    stages : tuple of (int, int)
        Sequence lengths to begin with, each with its number of updates, as BERT's 128 before 512.
    stride : int or None
        Tokens between the beginnings of sequences; None: `sequence_length`, each token once an
        epoch. A small corpus seen many times needs a smaller one, or the model learns texts by
        their position: the demo's 31,000 tokens were learned by heart (loss 0.02), yet text that
        went on from another position was word salad; with 16 it held together.
    learning_rate : float
        Peak of the schedule. 1e-3 suits nano; GPT-3 used 6e-4 for 124M (Brown et al. 2020, table 2.1).
    warmup_steps : int
        Updates of linear warm-up from 0.
    schedule : {"cosine", "linear", "wsd", "constant"}
        After the warm-up: cosine down to a tenth of the peak (Hoffmann et al. 2022); linear to 0 (Devlin
        et al. 2019); warm-up, stable, decay: the peak, and in the last `decay_share` of all updates down
        to 0 by ``1 - sqrt`` (Hägele et al. 2024, section 3); or the peak.
    decay_share : float
        For ``wsd``.
    weight_decay : float
        Decoupled decay of matrices and embeddings; biases and norms have none.
    betas : tuple of float
        AdamW's averages.
    grad_clip : float
        Largest L2 norm of an update's gradient; 0 does not clip.
    gradient_accumulation : int
        Forward passes per update.
    gradient_checkpointing : bool
        Compute a block's activations again on the way back instead of keeping them: less memory for a
        third more time (Chen et al. 2016).
    seed : int
        Of weights, order and dropout.
    held_out : float
        Share of the sequences, the last of the dataset, that are never trained on.
    eval_every, eval_sequences : int
        Every how many updates (0: never) the loss on how many held-out sequences is measured. They are
        always the same, evenly spread over what each dataset holds out; all of it if there are no more.
    patience : int
        Stop when so many measurements in a row were no better than the best (0: never). The model that
        is saved at the end is then the best, of which a checkpoint is kept.
    checkpoint_every, keep_checkpoints : int
        Every how many updates a checkpoint is written (0: only the last), and how many stay.
    embedding_init : {"constituents", "mean", "multivariate", "zero"} or None
        How rows begin that the tokenizer has beyond the model's (see `corpuskit.vocab.embeddings`).
        None: such a tokenizer is refused.
    new_rows_steps : int
        So many updates at the beginning train only those rows; the old ones and all other weights keep
        their bits.
    trained : {"all", "blocks"}
        Which weights change: all, or only those of the transformer's blocks (after `new_rows_steps`).
    objectives : Mapping[str, objective] or None
        With several datasets: the objective of each, by name, where it is not `objective` (ExT5 mixes
        denoising with tasks).
    weights : Mapping[str, float] or None
        Shares of the datasets in a mixture. None: T5's rates, from their sizes in samples.
    temperature, rate_cap : float, int or None
        Of T5's rates, ``min(size, cap) ** (1 / temperature)``.
    sample_every, sample_tokens : int
        Every how many updates (0: never) a text is generated, and how long. Not for masked models.
    sample_prompt : str
        What it begins with, or what an encoder-decoder answers; empty: a new document, or two
        held-out inputs, with their targets beside.
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
    parallel : {"data", "sharded"}
        What several processes (``torchrun``) have of the model: each all of it, or each a share of the
        weights, gradients and optimiser (FSDP2), for models that do not fit otherwise. One process has
        all of it either way, and a run may go on with the other.
    tensorboard : bool
        Write the metrics for TensorBoard too, to ``tensorboard/``; needs the extra ``tensorboard``.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    model: str | ModelConfig = "nano"
    objective: ObjectiveSetting = "causal"
    sequences: Sequences | None = None
    steps: int = 300
    batch_size: int = 8
    sequence_length: int = 128
    stages: tuple[tuple[int, int], ...] = ()
    stride: int | None = None
    learning_rate: float = 1e-3
    warmup_steps: int = 20
    schedule: Schedule = "cosine"
    decay_share: float = 0.2
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float = 1.0
    gradient_accumulation: int = 1
    gradient_checkpointing: bool = False
    seed: int = 0
    held_out: float = 0.02
    eval_every: int = 100
    eval_sequences: int = 64
    patience: int = 0
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    sample_every: int = 0
    sample_prompt: str = ""
    sample_tokens: int = 64
    threads: int | None = None
    device: str = "auto"
    dtype: Dtype = "auto"
    compile: bool = False
    embedding_init: EmbeddingInit | None = None
    new_rows_steps: int = 0
    trained: Trained = "all"
    objectives: Mapping[str, ObjectiveSetting] | None = None
    weights: Mapping[str, float] | None = None
    temperature: float = 1.0
    rate_cap: int | None = None
    parallel: Parallel = "data"
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.model, str) and not self._from_weights:
            ModelConfig.preset(self.model)
        longest = math.inf
        if not self._from_weights and self.shape.architecture != "t5":  # T5's positions are relative
            longest = self.shape.context_length
        for name, lowest, highest in (
            ("steps", 1, math.inf), ("batch_size", 1, math.inf), ("sequence_length", 2, longest),
            ("stride", 1, self.sequence_length),
            ("warmup_steps", 0, math.inf), ("gradient_accumulation", 1, math.inf),
            ("seed", 0, math.inf), ("held_out", 0, 0.5), ("weight_decay", 0, math.inf),
            ("grad_clip", 0, math.inf), ("eval_every", 0, math.inf), ("eval_sequences", 1, math.inf),
            ("checkpoint_every", 0, math.inf), ("keep_checkpoints", 1, math.inf),
            ("sample_every", 0, math.inf), ("sample_tokens", 1, math.inf), ("decay_share", 0, 1),
            ("patience", 0, math.inf), ("new_rows_steps", 0, math.inf), ("temperature", 1, math.inf),
            ("rate_cap", 1, math.inf), ("threads", 1, math.inf),
        ):  # fmt: skip
            _require_between(f"train.{name}", getattr(self, name), lowest, highest)
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"must be above 0, not {self.learning_rate}", where="train.learning_rate")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"must be two numbers in [0, 1), not {self.betas}", where="train.betas")
        for name, kind in (("schedule", Schedule), ("dtype", Dtype), ("sequences", Sequences),
                           ("embedding_init", EmbeddingInit), ("trained", Trained),
                           ("parallel", Parallel)):  # fmt: skip
            value = getattr(self, name)
            if value not in get_args(kind) and not (
                value is None and name in ("sequences", "embedding_init")
            ):
                raise ConfigError(
                    f"must be one of {', '.join(get_args(kind))}, not {value!r}", where=f"train.{name}"
                )
        self._check_together(longest)

    def _check_together(self, longest: float) -> None:
        for length, updates in self.stages:
            _require_between("train.stages", length, 2, longest)
            _require_between("train.stages", updates, 1, math.inf)
        if self.patience and not (self.eval_every and self.held_out):
            raise ConfigError(
                "stopping early needs measurements",
                where="train.patience",
                hint="set eval_every and held_out above 0",
            )
        kinds_of_sample = {
            self.sequences or self.objective_of(name).sequences for name in (None, *(self.objectives or ()))
        }
        if self.stride is not None and "windows" not in kinds_of_sample:
            raise ConfigError(
                f"a stride is for windows, and samples are {', '.join(sorted(kinds_of_sample))}",
                where="train.stride",
                hint="leave it out, or set sequences to windows",
            )
        if self.parallel == "sharded":
            for name in ("sample_every", "new_rows_steps", "compile"):
                if getattr(self, name):
                    raise ConfigError("is not for sharded models", where=f"train.{name}")
        if self.new_rows_steps and self.embedding_init is None:
            raise ConfigError("there are no new rows without embedding_init", where="train.new_rows_steps")
        chosen = [self.objective_of(None), *(self.objective_of(name) for name in self.objectives or ())]
        if len({objective.family for objective in chosen}) > 1:
            kinds = ", ".join(f"{o.name} ({o.family})" for o in chosen)
            raise ConfigError(f"they train different kinds of model: {kinds}", where="train.objectives")
        if not self._from_weights and self.shape.family != chosen[0].family:
            fitting = [n for n in ModelConfig.presets() if ModelConfig.preset(n).family == chosen[0].family]
            raise ConfigError(
                f"{chosen[0].name} trains {chosen[0].family} models, and this one is {self.shape.family}",
                where="train.objective",
                hint=f"choose another objective, or a model such as {', '.join(fitting[:3])}",
            )

    @property
    def _from_weights(self) -> bool:
        if not isinstance(self.model, str) or self.model in ModelConfig.presets():
            return False
        return Path(self.model).is_dir() or is_hub_name(self.model)

    @property
    def source(self) -> str | None:
        """The directory or hub name whose model is trained further; None for fresh weights."""
        return str(self.model) if self._from_weights else None

    @property
    def shape(self) -> ModelConfig:
        """The model's shape, a named size resolved; of a model that is trained further, about."""
        return shape_of(self.model)

    def objective_of(self, name: str | None) -> AnyObjective:
        """The objective of the dataset called `name`."""
        chosen = self.objective if name is None else (self.objectives or {}).get(name, self.objective)
        return by_name(chosen) if isinstance(chosen, str) else chosen

    @property
    def stops_early(self) -> bool:
        return self.patience > 0

    @property
    def tokens_per_update(self) -> int:
        return self.batch_size * self.sequence_length * self.gradient_accumulation

    def tokens_until(self, update: int) -> int:
        """Places of all sequences in the first `update` updates."""
        total = 0
        for length, updates in [*self.stages, (self.sequence_length, self.steps)]:
            done = min(update, updates)
            total += done * self.batch_size * self.gradient_accumulation * length
            update -= done
        return total

    def learning_rate_at(self, update: int) -> float:
        """The learning rate of update `update`, counted from 0."""
        if update < self.warmup_steps:
            return self.learning_rate * (update + 1) / self.warmup_steps
        progress = (update - self.warmup_steps) / max(1, self.steps - self.warmup_steps)
        if self.schedule == "cosine":
            return self.learning_rate * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))
        if self.schedule == "linear":
            return self.learning_rate * max(0.0, 1 - progress)
        decay = round(self.decay_share * self.steps)
        left = self.steps - update
        if self.schedule == "wsd" and left < decay:
            return self.learning_rate * (1 - math.sqrt(1 - left / decay))
        return self.learning_rate

    def identity(self) -> dict[str, Any]:
        """What must be equal for a run to be resumed: all that reaches the weights, but threads.

        At a constant rate no update depends on how many come after it, so such a run may be made longer.
        """
        fields = asdict(self)
        fields["model"] = self.source or asdict(self.shape)
        fields["objective"] = asdict(self.objective_of(None))
        fields["objectives"] = {name: asdict(self.objective_of(name)) for name in self.objectives or ()}
        for objective in (fields["objective"], *fields["objectives"].values()):
            if objective.get("frame", 0) is None:  # the tokenizer decides, and has a fingerprint of its own
                del objective["frame"]
        left_out = _OBSERVATION | {"threads"}
        if not self.stops_early:
            left_out |= _MEASURING
            left_out |= {"steps"} if self.schedule == "constant" else set()
        plain: dict[str, Any] = json.loads(json.dumps(fields))  # as a checkpoint holds it
        return {name: value for name, value in plain.items() if name not in left_out}


def shape_of(model: str | ModelConfig) -> ModelConfig:
    """The shape of what `TrainConfig.model` may be; a hub's model is fetched for it.

    Raises
    ------
    ConfigError
        If it is none.
    InputError
        If the directory holds no model, or the hub's cannot be had.
    """
    if isinstance(model, ModelConfig):
        return model
    if model not in ModelConfig.presets():
        directory = local_directory(model)
        if directory.is_dir():
            return ModelConfig.of_directory(directory)
    return ModelConfig.preset(model)


def _require_between(where: str, value: float | None, lowest: float, highest: float) -> None:
    if value is not None and not lowest <= value <= highest:
        allowed = f"at least {lowest}" if highest == math.inf else f"from {lowest} to {highest}"
        raise ConfigError(f"must be {allowed}, not {value}", where=where)
