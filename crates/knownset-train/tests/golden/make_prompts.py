"""Expected losses of the recipes for prompts, and their gradients with respect to the learned vectors.

The towers are knownset-nn's tiny checkpoint hf-quick as transformers runs it; the losses are stated again from the papers,
in PyTorch. Images and patches are those that hf-quick/expected.safetensors holds.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0:
    python make_prompts.py
"""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity, cross_entropy, normalize
from transformers import CLIPModel, CLIPTokenizer

HERE = Path(__file__).parent
NN = HERE.parents[2] / "knownset-nn" / "tests" / "golden"
NAMES, LABELS, TOKENS = ["red cat", "dog", "old lighthouse"], torch.tensor([0, 2, 1]), 4
K = len(NAMES)

torch.manual_seed(20261121)
model = CLIPModel.from_pretrained(NN / "clip" / "hf-quick").eval().requires_grad_(False)
tokenizer = CLIPTokenizer.from_pretrained(NN / "tokenizer" / "small")
tower = model.text_model
width = tower.config.hidden_size
scale = model.logit_scale.exp()
seen = load_file(NN / "clip" / "hf-quick" / "expected.safetensors")
images, patches = normalize(seen["images"], dim=1), normalize(seen["patches"], dim=2)


def read(vectors, end):
    """One prompt [T, w] through the text tower: its embedding [d], read at `end`."""
    tokens = len(vectors)
    hidden = (vectors + tower.embeddings.position_embedding.weight[:tokens])[None]
    mask = torch.full((1, 1, tokens, tokens), float("-inf")).triu(1)
    for layer in tower.encoder.layers:
        output = layer(hidden, mask)
        hidden = output[0] if isinstance(output, tuple) else output
    return model.text_projection(tower.final_layer_norm(hidden[0, end]))


dog = torch.tensor(tokenizer("dog")["input_ids"])
torch.testing.assert_close(read(tower.embeddings.token_embedding(dog), len(dog) - 1), seen["texts"][1])


def prompts(context):
    """Context [R, K, M, w] -> [R * K, d], rows of length one."""
    rows = []
    for contexts in context:
        for name, own in zip(NAMES, contexts):
            ids = torch.tensor(tokenizer(name + ".")["input_ids"])
            words = tower.embeddings.token_embedding(ids)
            vectors = torch.cat([words[:1], own, words[1:]])
            rows.append(read(vectors, len(vectors) - 1))
    return normalize(torch.stack(rows), dim=1)


def coop(texts, _):
    return cross_entropy(scale * images @ texts.T, LABELS)


def locoop(texts, _):
    p = (scale * patches.flatten(0, 1) @ texts.T).softmax(1)
    own = LABELS.repeat_interleave(patches.shape[1])
    background = ~p.topk(1).indices.eq(own[:, None]).any(1)
    assert 0 < background.sum() < len(p)
    p = p[background]
    return coop(texts, None) - 0.25 * -(p * p.log()).sum(1).mean()


def negprompt(negative, positive):
    loss = -(scale * images @ negative.T).log_softmax(1).mean(1).mean()
    n = negative.reshape(2, K, -1)
    near = torch.stack([cosine_similarity(one, positive) for one in n]).mean()
    return loss - 0.1 * near + 0.5 * cosine_similarity(n[0], n[1]).mean()


def lsn(negative, _):
    """The two sets together; each set's part is the reference's loss with one softmax."""
    n = negative.reshape(2, K, -1)
    loss = sum(cross_entropy((1 - images @ one.T) * 20, LABELS) for one in n)
    return loss + cosine_similarity(n[0], n[1]).mean()


arrays = {}


def golden(name, loss, rows, class_specific=False, positive=None):
    """`rows` R; the context is [R, M, w] where classes share it, [R * K, M, w] where they do not."""
    own = K if class_specific else 1
    context = (0.3 * torch.randn(rows * own, TOKENS, width)).requires_grad_()
    texts = prompts(context.reshape(rows, own, TOKENS, width).expand(rows, K, TOKENS, width))
    value = loss(texts, positive)
    value.backward()
    print(f"{name:22} loss {value.item():.4f}  largest gradient {context.grad.abs().max().item():.2e}")
    arrays.update({f"{name}.context": context, f"{name}.texts": texts})
    arrays.update({f"{name}.loss": value.reshape(1), f"{name}.gradient": context.grad})
    return texts.detach()


classes = golden("coop", coop, 1)
arrays["coop.logits"] = scale * images @ classes.T
golden("coop-class-specific", coop, 1, class_specific=True)
golden("locoop", locoop, 1)
golden("negprompt", negprompt, 2, positive=classes)
golden("lsn", lsn, 2, class_specific=True)
save_file({key: array.detach().float().contiguous() for key, array in arrays.items()}, HERE / "prompts.safetensors")
