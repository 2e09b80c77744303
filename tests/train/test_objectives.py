"""Objectives against their published definitions, written out plainly."""

import collections
import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.errors import ConfigError
from corpuskit.train.batches import collate, shifted
from corpuskit.train.objectives import (
    CausalLM,
    MaskedLM,
    Pairs,
    PrefixLM,
    Sample,
    SpanCorruption,
    SpecialTokens,
    SupervisedFineTuning,
    by_name,
)
from corpuskit.train.objectives.masked import choose_words
from corpuskit.train.objectives.sample import IGNORED_LABEL, derive_part, random_bits, uniform
from corpuskit.train.objectives.span_corruption import noise_counts, noise_mask, random_partition

END, MASK, PAD = 1, 900, 0
SENTINELS = tuple(range(1099, 999, -1))
SPECIAL = SpecialTokens(900, end_of_text=END, pad=PAD, mask=MASK, sentinels=SENTINELS)
seeds = st.integers(0, 2**63 - 1)


def text(length, columns=None, starts=(0,)):
    return Sample(np.arange(2, 2 + length), np.array(starts), columns or {})


def marks(length, *places):
    found = np.zeros(length, np.uint8)
    found[list(places)] = 1
    return found


def reference_splitmix64(seed, count):
    words, state = [], seed
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = state
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) % 2**64
        words.append(word ^ (word >> 31))
    return words


@given(seeds, st.integers(0, 20))
def test_random_bits_are_those_of_splitmix64(seed, count):
    assert random_bits(seed, count).tolist() == reference_splitmix64(seed, count)


def test_random_bits_equal_the_published_vector_and_parts_are_independent():
    # https://prng.di.unimi.it/splitmix64.c, seed 1234567
    assert random_bits(1234567, 2).tolist() == [6457827717110365317, 3203168211198807973]
    numbers = np.array([uniform(derive_part(7, part), 1)[0] for part in range(20_000)])
    assert abs(numbers.mean() - 0.5) < 4 * 12**-0.5 / 20_000**0.5
    assert len({derive_part(seed, part) for seed in range(100) for part in range(100)}) == 10_000
    assert derive_part(5, 0) not in set(random_bits(5, 1000).tolist())


# Span corruption --------------------------------------------------------------------------------


def reference_span_corruption(tokens, mask):
    """``noise_span_to_unique_sentinel`` and ``nonnoise_span_to_unique_sentinel``, token by token."""
    inputs, targets, spans = [], [], [0, 0]
    for place, (token, noise) in enumerate(zip(tokens, mask)):
        begins = place == 0 or mask[place - 1] != noise
        kept, hidden = (targets, inputs) if noise else (inputs, targets)
        kept.append(token)
        if begins:
            hidden.append(SENTINELS[spans[noise]])
            spans[noise] += 1
    return [*inputs, END], [*targets, END]


def test_lengths_are_those_of_t5():
    # random_spans_helper(512, 0.15, 3.0) of t5: tokens_length 568, targets_length 114
    objective = SpanCorruption()
    assert (objective.raw_length(512), objective.target_length(512)) == (568, 114)
    example = objective(text(568), 3, SPECIAL)
    assert (len(example.input_ids), len(example.labels)) == (512, 114)


@given(st.integers(2, 300), st.sampled_from([0.15, 0.5, 0.05, 0.9]), st.sampled_from([1.0, 3.0, 8.5]), seeds)
def test_noise_has_the_density_and_spans_of_the_definition(length, density, mean_span, seed):
    mask = noise_mask(length, density, mean_span, seed)
    wanted = min(max(round(length * density), 1), length - 1)
    spans = max(round(wanted / mean_span), 1)
    assert mask.sum() == wanted and not mask[0] and mask[-1]
    begins = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(int)])) == 1)
    assert len(begins) == min(spans, wanted, length - wanted)


@given(st.integers(2, 300), seeds, st.sampled_from([0.15, 0.4]))
def test_inputs_and_targets_are_those_of_the_reference_and_give_the_text_back(length, seed, density):
    objective = SpanCorruption(noise_density=density)
    sample = text(length)
    example = objective(sample, seed, SPECIAL)
    mask = noise_mask(length, density, 3.0, derive_part(seed, 0))
    inputs, targets = reference_span_corruption(sample.tokens.tolist(), mask.tolist())
    assert example.input_ids.tolist() == inputs and example.labels.tolist() == targets
    spans = collections.defaultdict(list)
    for token in targets[:-1]:
        if token in SENTINELS:
            current = token
        else:
            spans[current].append(token)
    assert list(spans) == list(SENTINELS[: len(spans)])
    restored = [t for token in inputs[:-1] for t in (spans[token] if token in SENTINELS else [token])]
    assert restored == sample.tokens.tolist()


def test_every_partition_is_equally_likely():
    counts = collections.Counter(
        tuple(random_partition(5, 3, derive_part(1, draw)).tolist()) for draw in range(12_000)
    )
    assert len(counts) == 6  # 4 choose 2
    # A count is binomial(12000, 1/6): deviation 41; five of them is one in a million.
    assert all(abs(count - 2000) < 5 * 41 for count in counts.values())


@given(st.integers(2, 120), seeds, st.data())
def test_with_whole_words_no_span_cuts_a_word(length, seed, data):
    starts = np.array(data.draw(st.lists(st.integers(0, 1), min_size=length, max_size=length)), np.uint8)
    example = SpanCorruption(whole_words=True)(text(length, {"word_starts": starts}), seed, SPECIAL)
    starts[0] = 1
    words = np.cumsum(starts) - 1
    noise = np.isin(np.arange(2, length + 2), example.labels)
    for word in range(words[-1] + 1):
        assert len(set(noise[words == word].tolist())) == 1


def test_whole_word_noise_has_the_density_on_average():
    rng = np.random.default_rng(0)
    share = []
    for seed in range(200):
        starts = (rng.random(400) < 0.6).astype(np.uint8)
        labels = SpanCorruption(whole_words=True)(text(400, {"word_starts": starts}), seed, SPECIAL).labels
        share.append(np.isin(labels, np.arange(2, 402)).mean() * len(labels) / 400)
    # Deviation of one sample's share is about 0.02, of the mean of 200 about 0.0014.
    assert abs(np.mean(share) - 0.15) < 0.007


def test_packed_documents_are_corrupted_apart():
    example = SpanCorruption()(text(60, starts=(0, 20)), 5, SPECIAL)
    for number, tokens in ((1, range(2, 22)), (2, range(22, 62))):
        own = example.input_ids[example.segments == number]
        target = example.labels[example.target_segments == number]
        assert set(own) | set(target) == {*tokens, END, *SENTINELS[: noise_counts(len(tokens), 0.15, 3)[1]]}


def test_too_few_sentinels_are_named():
    with pytest.raises(ConfigError, match="sentinels"):
        SpanCorruption()(text(400), 0, dataclasses.replace(SPECIAL, sentinels=SENTINELS[:3]))


def test_a_single_token_is_left_alone():
    example = SpanCorruption()(text(1), 0, SPECIAL)
    assert example.input_ids.tolist() == [2, END]


# Prefix, pairs, causal --------------------------------------------------------------------------


def test_a_prefix_is_uniform_and_both_parts_give_the_text_back():
    lengths = collections.Counter()
    for seed in range(6000):
        example = PrefixLM()(text(7), seed, SPECIAL)
        prefix, rest = example.input_ids.tolist(), example.labels.tolist()
        assert prefix[:-1] + rest[:-1] == list(range(2, 9)) and prefix[-1] == rest[-1] == END
        lengths[len(prefix) - 1] += 1
    assert sorted(lengths) == [1, 2, 3, 4, 5, 6]
    assert all(abs(count - 1000) < 5 * 29 for count in lengths.values())


def test_pairs_are_split_before_the_last_answer():
    sample = text(9, {"loss_mask": marks(9, 2, 3, 6, 7)})
    example = Pairs()(sample, 0, SPECIAL)
    assert example.input_ids.tolist() == [2, 3, 4, 5, 6, 7, END]
    assert example.labels.tolist() == [8, 9, END]


def test_long_pairs_lose_the_beginning_of_the_input_and_the_end_of_the_target():
    sample = text(12, {"loss_mask": marks(12, 8, 9, 10, 11)})
    example = Pairs(target_tokens=3, input_tokens=4)(sample, 0, SPECIAL)
    assert example.input_ids.tolist() == [7, 8, 9, END] and example.labels.tolist() == [10, 11, 12]


def test_the_first_target_token_is_supervised():
    pairs = Pairs()(text(6, {"loss_mask": marks(6, 3, 4, 5)}), 0, SPECIAL)
    batch = collate([pairs], PAD, seq2seq=True, causal=False)
    assert batch["targets"].tolist() == [5, 6, 7, END] and batch["places"].tolist() == [0, 1, 2, 3]
    assert batch["decoder_input_ids"].tolist() == [[PAD, 5, 6, 7]]
    tuned = SupervisedFineTuning()(text(6, {"loss_mask": marks(6, 3, 4, 5)}), 0, SPECIAL)
    batch = collate([tuned], PAD, seq2seq=False, causal=True)
    # The hidden state of token 2, the prompt's last, predicts the first token of the answer.
    assert batch["targets"].tolist() == [5, 6, 7] and batch["places"].tolist() == [2, 3, 4]


def test_fine_tuning_learns_the_marked_tokens_and_nothing_across_documents():
    sample = text(8, {"loss_mask": np.array([0, 1, 0, 1, 1, 1, 0, 1], np.uint8)}, starts=(0, 4))
    example = SupervisedFineTuning()(sample, 0, SPECIAL)
    assert example.labels.tolist() == [-100, 3, -100, 5, -100, 7, -100, 9]
    assert example.segments.tolist() == [1] * 4 + [2] * 4


def test_causal_learns_everything_but_the_first_of_each_document():
    example = CausalLM()(text(5, starts=(0, 3)), 0, SPECIAL)
    assert example.labels.tolist() == [-100, 3, 4, -100, 6]


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=4))
def test_a_decoder_reads_what_it_has_to_write_one_token_late_in_each_segment(rows):
    """Against transformers' own shift, applied to each document alone."""
    longest = max(map(sum, rows))
    labels = np.full((len(rows), longest), IGNORED_LABEL)
    segments = np.zeros((len(rows), longest), np.int32)
    expected = np.full((len(rows), longest), PAD)
    for row, lengths in enumerate(rows):
        place = 0
        for number, length in enumerate(lengths, 1):
            tokens = np.arange(10, 10 + length)
            labels[row, place : place + length], segments[row, place : place + length] = tokens, number
            expected[row, place : place + length] = [PAD, *tokens[:-1]]
            place += length
    assert np.array_equal(shifted(labels, segments, PAD), expected)


# Masked -----------------------------------------------------------------------------------------


def reference_choose_words(first, allowed, rate, seed):
    words = np.cumsum(first) - 1
    count = words[-1] + 1
    budget = max(1, round(rate * int(allowed.sum())))
    chosen = np.zeros(len(first), bool)
    for word in np.argsort(random_bits(seed, count), kind="stable"):
        own = words == word
        if own.sum() <= budget and allowed[own].all():
            chosen |= own
            budget -= own.sum()
    return chosen


@given(st.data(), st.integers(1, 80), seeds, st.sampled_from([0.15, 0.5]))
def test_words_are_chosen_as_by_the_plain_loop(data, length, seed, rate):
    bits = st.lists(st.booleans(), min_size=length, max_size=length)
    first, allowed = np.array(data.draw(bits)), ~np.array(data.draw(bits)) | (np.arange(length) % 2 == 0)
    first[0] = True
    found = choose_words(first, allowed, rate, seed)
    assert np.array_equal(found, reference_choose_words(first, allowed, rate, seed))


def test_shares_are_those_of_bert():
    rng = np.random.default_rng(1)
    became = collections.Counter()
    for seed in range(300):
        tokens = rng.integers(2, 900, 400)
        sample = Sample(tokens, columns={"word_starts": (rng.random(400) < 0.6).astype(np.uint8)})
        example = MaskedLM()(sample, seed, SPECIAL)
        chosen = example.labels != IGNORED_LABEL
        assert np.array_equal(example.labels[chosen], tokens[chosen])
        assert np.array_equal(example.input_ids[~chosen], tokens[~chosen])
        assert 58 <= chosen.sum() <= 60  # 15 % of 400, less what no word fits
        new = example.input_ids[chosen]
        became["mask"] += int((new == MASK).sum())
        became["same"] += int((new == tokens[chosen]).sum())
        became["all"] += len(new)
    # 300 * 60 draws: deviation of a share of 0.8 is 0.003, of 0.1 0.0022
    assert abs(became["mask"] / became["all"] - 0.8) < 0.015
    assert abs(became["same"] / became["all"] - 0.1) < 0.012


def test_words_are_whole_documents_begin_words_and_ends_are_never_hidden():
    tokens = np.array([5, 6, 7, END, 8, 9, 10, END])
    sample = Sample(tokens, np.array([0, 4]), {"word_starts": marks(8, 0, 2, 3, 7)})
    groups = [(0, 1), (2,), (4, 5, 6)]
    for seed in range(60):
        chosen = MaskedLM(rate=0.5)(sample, seed, SPECIAL).labels != IGNORED_LABEL
        assert not chosen[[3, 7]].any()
        assert all(len({bool(chosen[i]) for i in group}) == 1 for group in groups)


def reference_framed(sample, example):
    """Document by document: the first token, the document, and the last one unless it is there."""
    ids, labels, segments = [], [], []
    ends = [*sample.starts[1:].tolist(), len(sample.tokens)]
    for number, (begin, end) in enumerate(zip(sample.starts.tolist(), ends), 1):
        closed = sample.tokens[end - 1] == SEP
        own = [CLS, *example.input_ids[begin:end].tolist(), *([] if closed else [SEP])]
        ids += own
        labels += [IGNORED_LABEL, *example.labels[begin:end].tolist(), *([] if closed else [IGNORED_LABEL])]
        segments += [number] * len(own)
    return ids, labels, segments


CLS, SEP = 7, 8
AROUND = dataclasses.replace(SPECIAL, first=CLS, last=SEP)


@given(st.lists(st.lists(st.integers(2, 12), min_size=1, max_size=6), min_size=1, max_size=5), seeds)
def test_every_document_stands_between_the_first_and_the_last_token(documents, seed):
    starts = np.cumsum([0, *map(len, documents)])[:-1]
    sample = Sample(np.array([token for one in documents for token in one]), starts)
    plain, around = (MaskedLM(whole_words=False, rate=0.5, frame=on) for on in (False, True))
    bare, example = plain(sample, seed, AROUND), around(sample, seed, AROUND)
    ids, labels, segments = reference_framed(sample, bare)
    assert example.input_ids.tolist() == ids and example.labels.tolist() == labels
    assert example.segments.tolist() == example.target_segments.tolist() == segments
    hidden = sample.tokens[bare.labels != IGNORED_LABEL]
    assert not set(hidden.tolist()) & {CLS, SEP, END}  # they are text to nobody, wherever they stand


def test_the_tokenizer_decides_about_the_tokens_around():
    assert MaskedLM().for_tokens(AROUND).frame is True and MaskedLM().for_tokens(SPECIAL).frame is False
    assert MaskedLM(frame=False).for_tokens(AROUND).frame is False
    assert (MaskedLM(frame=True).raw_length(512), MaskedLM().raw_length(512)) == (510, 512)
    with pytest.raises(ConfigError, match=r"neither \[CLS\]"):
        MaskedLM(frame=True).for_tokens(SPECIAL)


# All --------------------------------------------------------------------------------------------

ALL = [
    CausalLM(), SupervisedFineTuning(), SpanCorruption(), SpanCorruption(whole_words=True), PrefixLM(),
    Pairs(), MaskedLM(), MaskedLM(whole_words=False),
]  # fmt: skip


@pytest.mark.parametrize("objective", ALL, ids=lambda o: o.name)
def test_an_objective_is_a_pure_function_of_sample_and_seed(objective):
    columns = {"loss_mask": marks(90, *range(40, 90)), "word_starts": marks(90, *range(0, 90, 2))}
    sample = text(90, columns, starts=(0, 50))
    before = sample.tokens.copy()
    first, again, other = (objective(sample, seed, SPECIAL) for seed in (4, 4, 5))
    assert all(np.array_equal(a, b) for a, b in zip(first, again))
    assert np.array_equal(sample.tokens, before)
    random = objective.name not in ("causal", "sft", "pairs")
    assert random != all(np.array_equal(a, b) for a, b in zip(first, other))
    assert len(first.input_ids) == len(first.segments) and len(first.labels) == len(first.target_segments)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (SpanCorruption, {"noise_density": 1.0}), (SpanCorruption, {"mean_span_length": 0.5}),
        (MaskedLM, {"rate": 0}), (MaskedLM, {"mask_share": 0.9, "random_share": 0.2}),
        (Pairs, {"target_tokens": 0}),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(ConfigError):
        kind(**settings)


def test_unknown_objectives_are_refused_with_the_names():
    with pytest.raises(ConfigError, match="span_corruption"):
        by_name("denoise")


def test_a_masked_model_needs_a_mask_token():
    with pytest.raises(ConfigError, match="mask token"):
        MaskedLM(whole_words=False)(text(9), 0, dataclasses.replace(SPECIAL, mask=None))
