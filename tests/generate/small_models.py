"""Random models whose weights are large enough that greedy choices vary and are far from ties."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, T5Config, T5ForConditionalGeneration

from corpuskit.models import ModelConfig, create
from corpuskit.vocab.bytelevel import ByteLevelBPE
from corpuskit.vocab.tokenizer import Tokenizer

BYTES = tuple(bytes([i]) for i in range(256))
END = 257
TOKENIZER = Tokenizer(ByteLevelBPE((*BYTES, b"ab", None), ((97, 98),), {"<|endoftext|>": END}))


def enlarge(model, factor):
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def lively_model(context=24, vocab_size=258, seed=0):
    """A GPT-2 for `TOKENIZER`."""
    shape = ModelConfig(layers=2, width=16, heads=4, context_length=context)
    model = create(shape, vocab_size, seed=seed, end_of_text_id=min(END, vocab_size - 1)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() >= 2:
                parameter.mul_(10 if "wte" in name or "wpe" in name else 8)
    return model


def random_gpt2(seed, factor=6.0, **settings):
    torch.manual_seed(seed)
    shape = {"n_layer": 3, "n_head": 4, "n_embd": 48, "n_positions": 64, "vocab_size": 300}
    return enlarge(GPT2LMHeadModel(GPT2Config(**(shape | settings))), factor)


def random_t5(seed, factor=1.5, vocab_size=258, **settings):
    torch.manual_seed(seed)
    shape = {
        "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4, "pad_token_id": 0,
        "eos_token_id": END, "decoder_start_token_id": 0, "feed_forward_proj": "gated-gelu",
        "tie_word_embeddings": False, "vocab_size": vocab_size,
    }  # fmt: skip
    return enlarge(T5ForConditionalGeneration(T5Config(**(shape | settings))), factor)


def random_prompts(rows, length, tokens, seed=0):
    return torch.randint(0, tokens, (rows, length), generator=torch.Generator().manual_seed(seed))
