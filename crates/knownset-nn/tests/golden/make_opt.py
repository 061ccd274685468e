"""What transformers' OPT says and writes -> opt.safetensors, and what its samplers leave of a distribution -> nucleus.safetensors.

Two layouts that BLIP-2's language model does not have: `after` (like OPT-350M: normalisations behind the layers, word vectors
of another length than the tokens inside) and `plain` (no biases, GELU, a head of its own, no last normalisation). Weights are
not stored: both sides compute them from names with `value` (tests/it/hashed.rs is its twin).

Made with Python 3.11, torch 2.15.0, transformers 5.23.0:
    python make_opt.py
"""

from pathlib import Path

import numpy as np
import torch
from make_backbones import hashed, value
from safetensors.torch import save_file
from transformers import OPTConfig, OPTForCausalLM
from transformers.generation.logits_process import TemperatureLogitsWarper, TopPLogitsWarper

HERE = Path(__file__).parent
VOCABULARY, TEXTS, TOKENS, MOST = 37, 3, 5, 9
torch.set_num_threads(1)

AFTER = dict(
    hidden_size=24, word_embed_proj_dim=16, ffn_dim=20, num_hidden_layers=3, num_attention_heads=3, do_layer_norm_before=False,
)
PLAIN = dict(
    hidden_size=20, ffn_dim=28, num_hidden_layers=2, num_attention_heads=4, enable_bias=False, activation_function="gelu",
    tie_word_embeddings=False, _remove_final_layer_norm=True,
)


@torch.no_grad()
def language_model(layout):
    config = OPTConfig(vocab_size=VOCABULARY, max_position_embeddings=TOKENS + MOST, eos_token_id=None, **layout)
    model = OPTForCausalLM(config).eval()
    for name, parameter in model.named_parameters():
        parameter.copy_(value(name, tuple(parameter.shape)))
    ids = torch.from_numpy(((hashed("ids", TEXTS * TOKENS) + 1) / 2 * VOCABULARY).astype(np.int64).reshape(TEXTS, TOKENS))
    written = model.generate(ids, do_sample=False, max_new_tokens=MOST, eos_token_id=None, pad_token_id=0)
    logits = model(written).logits
    best = logits[:, TOKENS - 1 : -1].topk(2).values
    print("margin", (best[..., 0] - best[..., 1]).min().item(), written[:, TOKENS:].tolist())
    return dict(ids=ids.float(), written=written[:, TOKENS:].float(), logits=logits)


def nucleus(temperature, share, rows=6):
    """Probabilities that the samplers leave; and the token that each number in [0, 1) draws, likeliest tokens first."""
    logits = torch.from_numpy(3 * hashed("logits", rows * VOCABULARY).astype(np.float32).reshape(rows, VOCABULARY))
    scores = TopPLogitsWarper(share)(None, TemperatureLogitsWarper(temperature)(None, logits))
    probabilities = scores.double().softmax(-1)
    numbers = torch.from_numpy(((hashed("numbers", rows) + 1) / 2).astype(np.float32))
    order = probabilities.argsort(dim=-1, descending=True, stable=True)
    reached = probabilities.gather(-1, order).cumsum(-1) > numbers[:, None]
    drawn = order.gather(-1, reached.float().argmax(-1, keepdim=True))[:, 0]
    print(temperature, share, "kept", (probabilities > 0).sum(-1).tolist(), "drawn", drawn.tolist())
    return dict(logits=logits, probabilities=probabilities.float(), numbers=numbers, drawn=drawn.float())


def save(file, cases):
    arrays = {f"{name}.{key}": array.contiguous() for name, case in cases.items() for key, array in case.items()}
    save_file(arrays, HERE / file)


save("opt.safetensors", dict(after=language_model(AFTER), plain=language_model(PLAIN)))
save("nucleus.safetensors", dict(usual=nucleus(1.0, 0.9), sharp=nucleus(0.7, 0.5), all=nucleus(1.3, 1.0), least=nucleus(1.0, 0.01)))
