"""A small token dataset with both parallel columns, and a configuration for each objective."""

import pyarrow as pa

from corpuskit import shards
from corpuskit.models import ModelConfig
from corpuskit.train import TrainConfig, read_metrics
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": 257}))

ARCHITECTURES = {
    "causal": "gpt2", "sft": "gpt2", "span_corruption": "t5", "prefix": "t5", "pairs": "t5", "masked": "bert",
}  # fmt: skip


def write(directory, sentence="我想去北京。天气很好。", documents=40, tokenizer=TOKENIZER):
    rows = [list((sentence * (i % 3 + 1)).encode()) for i in range(documents)]
    ids = pa.array(rows, pa.large_list(pa.uint32()))
    learned = [[int(place >= len(row) // 3) for place in range(len(row))] for row in rows]
    words = [[int(place % 6 == 0) for place in range(len(row))] for row in rows]
    columns = {"loss_mask": "uint8", "word_starts": "uint8"}
    with shards.Writer(directory, tokenizer=tokenizer, columns=columns) as writer:
        kind = pa.large_list(pa.uint8())
        batch = [pa.array([f"{i:032x}" for i in range(documents)]), ids]
        batch += [pa.array(learned, kind), pa.array(words, kind)]
        writer.write_tokens(pa.record_batch(batch, names=["id", "tokens", "loss_mask", "word_starts"]))
    return directory


def shape(architecture, dropout=0.1):
    return ModelConfig(1, 16, 2, 64, dropout, 0.1, architecture, feed_forward=32)


def config(objective="causal", **changes):
    settings = dict(
        model=shape(ARCHITECTURES[objective]), objective=objective, steps=7, batch_size=4,
        sequence_length=48, learning_rate=1e-2, warmup_steps=2, held_out=0.1, eval_every=4, eval_sequences=8,
        checkpoint_every=3, gradient_accumulation=2, threads=1, seed=3, device="cpu",
    )  # fmt: skip
    return TrainConfig(**{**settings, **changes})


def losses(directory):
    return [(s.step, s.loss, s.gradient_norm, s.held_out_loss, s.targets) for s in read_metrics(directory)]


class Interrupted(Exception):
    pass


def interrupt_at(step):
    def on_step(progress):
        if progress.step == step:
            raise Interrupted

    return on_step
