"""What TagOOD's head says of tokens: embedding, logits, and the gradient of their sum by the tokens -> token_head.safetensors.

The blocks are torchvision's, which the authors' are made after: names and layout of the tensors are theirs. Weights are not
stored: both sides compute them from names with `value` (tests/it/hashed.rs is its twin).

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2:
    python make_token_head.py
"""

from pathlib import Path

import numpy as np
import torch
from make_backbones import hashed, value
from safetensors.torch import save_file
from torch import nn
from torchvision.models.vision_transformer import Encoder

INPUTS, TOKENS, WIDTH, DEPTH, HEADS, CLASSES = 6, 5, 16, 2, 4, 3


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.image_proj = nn.Linear(INPUTS, WIDTH)
        self.layers = Encoder(TOKENS + 1, DEPTH, HEADS, WIDTH, 4 * WIDTH, 0.1, 0.1)
        self.classifier = nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens):
        """Fewer tokens than there are positions: the first ones' are taken, as the authors do."""
        hidden = torch.cat([self.cls_token.expand(len(tokens), -1, -1), self.image_proj(tokens)], 1)
        hidden = hidden + self.layers.pos_embedding[:, : hidden.shape[1]]
        embedding = self.layers.ln(self.layers.layers(hidden))[:, 0]
        return embedding, self.classifier(embedding)


head = Head().eval()
with torch.no_grad():
    for name, parameter in head.named_parameters():
        parameter.copy_(value(name, tuple(parameter.shape)))
out = {}
for count in (TOKENS, 3):
    values = hashed(f"tokens-{count}", 4 * count * INPUTS).astype(np.float32).reshape(4, count, INPUTS)
    tokens = torch.from_numpy(2 * values).requires_grad_()
    embedding, logits = head(tokens)
    (embedding.square().sum() * 0.1 + logits[:, 0].sum()).backward()
    out |= {f"{count}.embedding": embedding, f"{count}.logits": logits, f"{count}.gradient": tokens.grad}
save_file({name: tensor.detach().contiguous() for name, tensor in out.items()}, Path(__file__).with_name("token_head.safetensors"))
print({name: tuple(tensor.shape) for name, tensor in out.items()}, sorted(head.state_dict())[:6])
