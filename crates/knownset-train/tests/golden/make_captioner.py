"""Makes captioner.safetensors: a tiny BLIP-2 of transformers with random weights, and its language modelling loss.

The loss is PyTorch's cross-entropy over the tokens of three captions and their end tokens, computed from the logits that the
model gives when it is told the right tokens; `smoothed` has a label smoothing of 0.1. Gradients are those of the pixels.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0:
    python make_captioner.py
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import Blip2Config, Blip2ForConditionalGeneration, Blip2QFormerConfig, Blip2VisionConfig, OPTConfig

torch.manual_seed(3)
BEGIN, IMAGE, QUERIES, VOCABULARY = 2, 10, 3, 11
CAPTIONS = [[4, 5, 6], [7], []]

config = Blip2Config(
    vision_config=Blip2VisionConfig(
        image_size=8, patch_size=4, hidden_size=8, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
        layer_norm_eps=1e-6,
    ).to_dict(),
    qformer_config=Blip2QFormerConfig(
        hidden_size=12, intermediate_size=16, num_hidden_layers=1, num_attention_heads=3, cross_attention_frequency=1,
        encoder_hidden_size=8, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    ).to_dict(),
    text_config=OPTConfig(
        vocab_size=VOCABULARY, hidden_size=8, word_embed_proj_dim=8, ffn_dim=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=12, dropout=0.0, bos_token_id=BEGIN, eos_token_id=BEGIN, pad_token_id=1,
    ).to_dict(),
    num_query_tokens=QUERIES,
    image_token_index=IMAGE,
)
model = Blip2ForConditionalGeneration(config).eval()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape)
        parameter.copy_(1 + 0.3 * noise if "norm" in name.lower() and name.endswith("weight") else 0.4 * noise)

longest = max(map(len, CAPTIONS)) + 1
ids = torch.tensor([[IMAGE] * QUERIES + [BEGIN] + caption + [1] * (longest - 1 - len(caption)) for caption in CAPTIONS])
attention = torch.tensor([[1] * (QUERIES + 1 + len(caption)) + [0] * (longest - 1 - len(caption)) for caption in CAPTIONS])
wanted = torch.tensor([caption + [BEGIN] + [-100] * (longest - 1 - len(caption)) for caption in CAPTIONS])

tensors = {
    f"network.{name}": value
    for name, value in model.state_dict().items()
    if not name.endswith(("position_ids", "lm_head.weight"))
}
start = torch.randn(3, 3 * 8 * 8)
for case, smoothing in [("plain", 0.0), ("smoothed", 0.1)]:
    pixels = start.clone().requires_grad_()
    logits = model(pixel_values=pixels.view(3, 3, 8, 8), input_ids=ids, attention_mask=attention).logits[:, QUERIES:]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, label_smoothing=smoothing)
    loss.backward()
    tensors |= {f"{case}.pixels": start, f"{case}.pixels.gradient": pixels.grad, f"{case}.loss": loss.reshape(1)}
    print(case, loss.item())
tensors = {name: tensor.detach().float().clone().contiguous() for name, tensor in tensors.items()}
save_file(tensors, Path(__file__).parent / "captioner.safetensors")
print(sum(tensor.numel() for tensor in tensors.values()), sorted(tensors))
