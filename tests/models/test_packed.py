"""No token attends to another document: one document is changed, and all others keep their bits.

Equality is exact. A masked score becomes a weight of exactly 0 (the exponential of minus infinity, or of
the lowest float), sums of the same shape are made in the same order, and no other operation mixes rows.
"""

from functools import partial

import numpy as np
import pytest
import torch

from corpuskit.models.configurations import ModelConfig
from corpuskit.models.loading import create
from corpuskit.models.packed import forward_inputs, masked_again, positions, same_segment
from corpuskit.train.batches import collate
from corpuskit.train.losses import TokenLoss
from corpuskit.train.objectives import CausalLM, MaskedLM, Pairs, Sample, SpecialTokens
from corpuskit.train.objectives.sample import pair

SPECIAL = SpecialTokens(90, end_of_text=1, pad=0, mask=90)
KINDS = ("gpt2", "t5", "bert", "roberta", "distilbert")
STARTS = np.array([0, 7, 20])
LENGTHS = (7, 13, 9)


def model_of(kind, dropout=0.1):
    shape = ModelConfig(
        layers=2, width=32, heads=2, context_length=40, dropout=dropout, architecture=kind,
        initializer_range=0.2, feed_forward=64,
    )  # fmt: skip
    return create(shape, 91, seed=3, end_of_text_id=1, pad_id=0)


def rows(changed):
    """Two packed rows, the second one shorter; of the first, document `changed` has other tokens."""
    generator = np.random.default_rng(0)
    first, second = generator.integers(2, 90, 29), generator.integers(2, 90, 26)
    if changed is not None:
        begin = STARTS[changed]
        first[begin : begin + LENGTHS[changed]] = generator.integers(2, 90, LENGTHS[changed])
    return [(first, STARTS), (second, STARTS)]


def batch_of(kind, changed=None):
    causal, seq2seq = kind == "gpt2", kind == "t5"
    objective = CausalLM() if causal else Pairs() if seq2seq else MaskedLM(whole_words=False)
    mask = (np.arange(29) % 3 != 0).astype(np.uint8)
    for begin in STARTS:
        mask[begin : begin + 3] = 0
        mask[begin + 3 :] = 1
    samples = [Sample(tokens, starts, {"loss_mask": mask[: len(tokens)]}) for tokens, starts in rows(changed)]
    made = collate([objective(s, 5, SPECIAL) for s in samples], 0, seq2seq, causal)
    return {name: torch.from_numpy(array) for name, array in made.items()}


def hidden_by_document(kind, loss, changed):
    batch = batch_of(kind, changed)
    torch.manual_seed(11)
    hidden = loss.hidden(batch)
    segments = batch["target_segment_ids" if kind == "t5" else "segment_ids"]
    logits = loss.head.transform(hidden) @ loss.head.weight.T
    return [logits[row][segments[row] == number] for row in (0, 1) for number in (1, 2, 3)]


def require_isolation(kind, loss):
    before = hidden_by_document(kind, loss, None)
    for changed in range(3):
        after = hidden_by_document(kind, loss, changed)
        for number, (old, new) in enumerate(zip(before, after)):
            assert torch.equal(old, new) == (number != changed), (kind, changed, number)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_changed_document_leaves_every_other_logit(kind, training, attention):
    model = model_of(kind).train(training)
    model.set_attn_implementation(attention)
    require_isolation(kind, TokenLoss(model))


@pytest.mark.parametrize(
    "kind", ["gpt2", "t5", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[2:])]
)
@torch.no_grad()
def test_traced_models_keep_documents_apart_too(kind, monkeypatch):
    """What transformers decides while torch.compile traces it; the kernels are the slow test's."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    require_isolation(kind, TokenLoss(model_of(kind).eval(), compile=True))


@pytest.mark.parametrize("kind", KINDS[2:])
@torch.no_grad()
def test_tokens_around_packed_documents_leave_them_apart(kind):
    special = SpecialTokens(90, end_of_text=1, pad=0, mask=90, first=91, last=92)

    def hidden(changed):
        objective = MaskedLM(whole_words=False, frame=True)
        examples = [objective(Sample(tokens, starts), 5, special) for tokens, starts in rows(changed)]
        batch = {n: torch.from_numpy(a) for n, a in collate(examples, 0, False, False).items()}
        found = loss.hidden(batch)
        return [found[row][batch["segment_ids"][row] == number] for row in (0, 1) for number in (1, 2, 3)]

    loss = TokenLoss(model_of(kind).eval())
    before = hidden(None)
    assert [len(one) for one in before[:3]] == [length + 2 for length in LENGTHS]
    for changed in range(3):
        for number, (old, new) in enumerate(zip(before, hidden(changed))):
            assert torch.equal(old, new) == (number != changed)


@torch.no_grad()
def test_traced_windows_need_no_mask_and_generation_gets_its_own_back(monkeypatch):
    attention, seen = torch.nn.functional.scaled_dot_product_attention, []

    def spy(*tensors, attn_mask=None, is_causal=False, **others):
        seen.append((attn_mask is None, is_causal))
        return attention(*tensors, attn_mask=attn_mask, is_causal=is_causal, **others)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    model = model_of("gpt2").eval()
    ids = torch.arange(2, 26).view(2, 12)
    expected = model.base_model(ids).last_hidden_state
    seen.clear()
    torch.testing.assert_close(TokenLoss(model, compile=True).hidden({"input_ids": ids}), expected)
    assert set(seen) == {(True, True)}
    with masked_again(model):
        assert model.config._attn_implementation == "sdpa"
    assert model.config._attn_implementation != "sdpa"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_compiled_models_keep_documents_apart_too(kind):
    for training in (False, True):
        require_isolation(kind, TokenLoss(model_of(kind, dropout=0.0).train(training), compile=True))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_one_document_do_not_reach_another(kind):
    model = model_of(kind, dropout=0.0).train()
    loss, batch = TokenLoss(model), batch_of(kind)
    table = (model.get_encoder() if kind == "t5" else model).get_input_embeddings()
    embedded = table(batch["input_ids"]).detach().requires_grad_()
    own = batch["segment_ids"] == 2
    targets = batch["target_segment_ids"] == 2 if kind == "t5" else own
    hook = table.register_forward_hook(lambda module, inputs, output: embedded)
    hidden = loss.hidden(batch)
    hook.remove()
    hidden[targets].sum().backward()
    assert embedded.grad[own].any() and not embedded.grad[~own].any()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_document_in_a_pack_has_the_logits_it_has_alone(kind):
    loss = TokenLoss(model_of(kind).eval())
    packed = hidden_by_document(kind, loss, None)
    batch = batch_of(kind)
    target_segments = batch.get("target_segment_ids", batch["segment_ids"])
    for row in (0, 1):
        for number in (1, 2, 3):
            own = batch["segment_ids"][row] == number
            alone = {"input_ids": batch["input_ids"][row][own][None]}
            if kind == "t5":
                theirs = target_segments[row] == number
                alone["decoder_input_ids"] = batch["decoder_input_ids"][row][theirs][None]
                alone["segment_ids"] = torch.ones_like(alone["input_ids"])
                alone["target_segment_ids"] = torch.ones_like(alone["decoder_input_ids"])
            logits = loss.head.transform(loss.hidden(alone)[0]) @ loss.head.weight.T
            # Sums over 40 keys instead of 7 to 13 are made in another order: some 40 * 2**-24 relative.
            torch.testing.assert_close(packed[3 * row + number - 1], logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_the_logits_of_an_unpacked_batch_are_those_of_transformers(kind):
    model = model_of(kind).eval()
    loss = TokenLoss(model)
    ids = torch.arange(2, 26).view(2, 12)
    if kind == "t5":
        examples = [pair(row[:7].numpy(), row[7:].numpy()) for row in ids]
        batch = {n: torch.from_numpy(a) for n, a in collate(examples, 0, True, False).items()}
        theirs = model(input_ids=ids[:, :7], labels=ids[:, 7:].contiguous())
        total = loss(batch)
        torch.testing.assert_close(total / len(batch["targets"]), theirs.loss)
        logits = theirs.logits
    else:
        batch = {"input_ids": ids}
        logits = model(ids).logits
    ours = loss.head.transform(loss.hidden(batch)) @ loss.head.weight.T
    if loss.head.bias is not None:
        ours = ours + loss.head.bias
    torch.testing.assert_close(ours, logits)


def test_masks_and_positions_are_what_they_say():
    segments = torch.tensor([[1, 1, 2, 2, 2, 0]])
    assert positions(segments).tolist() == [[0, 1, 0, 1, 2, 0]]
    mask = same_segment(segments, segments, causal=True)[0, 0]
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]


def test_transformers_default_forward_leaks_so_packed_batches_need_ours():
    """Why `forward_inputs` is there: position ids that fall are not enough (cache on by default)."""
    model = model_of("gpt2").eval()
    with torch.no_grad():
        logits = []
        for changed in (None, 0):
            batch = batch_of("gpt2", changed)
            fields = {"input_ids": batch["input_ids"], "position_ids": positions(batch["segment_ids"])}
            logits.append(model(**fields).logits[0][batch["segment_ids"][0] == 2])
    assert not torch.equal(*logits)
    assert set(forward_inputs(model, batch)) == {"input_ids", "use_cache", "attention_mask", "position_ids"}
