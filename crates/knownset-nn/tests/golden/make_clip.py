"""Makes clip/: tiny CLIP checkpoints and what the reference implementations say with them.

Hugging Face's are whole folders as transformers saves them. OpenAI's and OpenCLIP's weights are not stored: both sides
compute them from names with `value` (tests/it/hashed.rs is its twin), `shapes.json` lists them. All use the vocabulary
in tokenizer/small, so make_tokenizer.py comes first.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, open_clip_torch 3.3.0:
    python make_clip.py
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from make_backbones import hashed, value
from open_clip import model as open_clip_model
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

HERE = Path(__file__).parent / "clip"
SMALL = Path(__file__).parent / "tokenizer" / "small"
TEXTS = ["a small red cat.", "dog", "", "a wooden lighthouse near the old river", "word " * 40]
VOCABULARY, END = 814, 813


def images(side, count=3):
    return torch.from_numpy(hashed("images", count * 3 * side * side).astype(np.float32).reshape(count, 3, side, side))


def tokens(context):
    tokenizer = CLIPTokenizer.from_pretrained(SMALL)
    return tokenizer(TEXTS, padding="max_length", truncation=True, max_length=context, return_tensors="pt")["input_ids"]


def save(name, **arrays):
    save_file({key: array.detach().float().contiguous() for key, array in arrays.items()}, HERE / name / "expected.safetensors")


def fresh(name):
    shutil.rmtree(HERE / name, ignore_errors=True)
    (HERE / name).mkdir(parents=True)


# === Hugging Face


def hugging_face(name, text, vision, projection, half=False, shard="5GB"):
    fresh(name)
    text = dict(vocab_size=VOCABULARY, eos_token_id=END, bos_token_id=END - 1, pad_token_id=END) | text
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=projection)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(value(key, tuple(parameter.shape)))
    model = model.half() if half else model
    model.save_pretrained(HERE / name, max_shard_size=shard)
    model = model.float()
    side = vision["image_size"]
    CLIPImageProcessor(size={"shortest_edge": side}, crop_size={"height": side, "width": side}).save_pretrained(HERE / name)
    with torch.no_grad():
        tower = model.vision_model
        embeddings = model.visual_projection(tower(pixel_values=images(side)).pooler_output)
        hidden = tower.pre_layrnorm(tower.embeddings(images(side)))
        *blocks, last = tower.encoder.layers
        for block in blocks:
            output = block(hidden, None)
            hidden = output[0] if isinstance(output, tuple) else output
        attention = last.self_attn
        hidden = hidden + attention.out_proj(attention.v_proj(last.layer_norm1(hidden)))
        hidden = hidden + last.mlp(last.layer_norm2(hidden))
        patches = model.visual_projection(tower.post_layernorm(hidden))[:, 1:]
        ids = tokens(text["max_position_embeddings"])
        words = model.text_projection(model.text_model(input_ids=ids).pooler_output)
    save(name, images=embeddings, patches=patches, texts=words, scale=model.logit_scale.exp().reshape(1))


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


def without_defaults(config):
    """What transformers fills in by itself, so that our defaults are used."""
    for section in (config["text_config"], config["vision_config"]):
        for key in ("hidden_act", "layer_norm_eps", "num_channels", "pad_token_id"):
            section.pop(key, None)


# === OpenAI and OpenCLIP


def native(name, model, numbers, context, side, heads):
    """`heads` checks that the reference has the number of them that the test means."""
    fresh(name)
    model = model.float().eval()
    shapes = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(value(key, shapes[key]))
    assert model.visual.transformer.resblocks[0].attn.num_heads == heads
    with torch.no_grad():
        embeddings = model.encode_image(images(side))
        words = model.encode_text(tokens(context))
        visual = model.visual
        hidden = visual.ln_pre(embed(visual, images(side)))
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            hidden = block(hidden)
        weight, bias = last.attn.in_proj_weight.chunk(3)[2], last.attn.in_proj_bias.chunk(3)[2]
        values = torch.nn.functional.linear(last.ln_1(hidden), weight, bias)
        hidden = hidden + last.attn.out_proj(values)
        hidden = hidden + last.mlp(last.ln_2(hidden))
        patches = (visual.ln_post(hidden) @ visual.proj)[:, 1:]
    (HERE / name / "shapes.json").write_text(json.dumps(shapes | {key: [] for key in numbers}) + "\n")
    save(name, images=embeddings, patches=patches, texts=words, scale=model.logit_scale.exp().reshape(1))


def embed(visual, pixels):
    patches = visual.conv1(pixels).flatten(2).transpose(1, 2)
    start = visual.class_embedding.expand(len(pixels), 1, -1)
    return torch.cat([start, patches], 1) + visual.positional_embedding


def main():
    hugging_face(
        "hf-quick",
        dict(hidden_size=12, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=16),
        dict(hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8),
        projection=12,
    )
    edit(HERE / "hf-quick" / "config.json", without_defaults)
    gelu = dict(hidden_act="gelu", layer_norm_eps=1e-3)
    hugging_face(
        "hf-gelu-half",
        dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=77) | gelu,
        dict(hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, image_size=16, patch_size=4) | gelu,
        projection=20, half=True,
    )
    hugging_face(
        "hf-legacy-sharded",
        dict(hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=20, eos_token_id=2),
        dict(hidden_size=24, intermediate_size=24, num_hidden_layers=3, num_attention_heads=2, image_size=30, patch_size=8),
        projection=8, shard="80KB",
    )
    native(
        "openai",
        openai(embed=24, side=32, patch=8, widths=(128, 128), layers=(2, 2), context=16),
        ["input_resolution", "context_length", "vocab_size"], context=16, side=32, heads=2,
    )
    native(
        "open-clip",
        open_clip_model.CLIP(
            24, dict(image_size=24, layers=2, width=64, patch_size=8, head_width=16, mlp_ratio=2.0),
            dict(context_length=24, vocab_size=VOCABULARY, width=48, heads=4, layers=2), quick_gelu=False,
        ),
        [], context=24, side=24, heads=4,
    )
    config = {
        "model_cfg": {
            "embed_dim": 24,
            "vision_cfg": {"image_size": 24, "layers": 2, "width": 64, "patch_size": 8, "head_width": 16, "mlp_ratio": 2.0},
            "text_cfg": {"context_length": 24, "vocab_size": VOCABULARY, "width": 48, "heads": 4, "layers": 2},
        },
        "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bilinear", "resize_mode": "squash"},
    }
    (HERE / "open-clip" / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
    assert len(list((HERE / "hf-legacy-sharded").glob("model-*-of-*.safetensors"))) == 2
    largest = max((path.stat().st_size, str(path.relative_to(HERE))) for path in HERE.rglob("*") if path.is_file())
    print("largest file:", *largest)


def openai(embed, side, patch, widths, layers, context):
    """The network that OpenAI's build_model makes of a state dict, by OpenCLIP's version of it."""
    vision, text = widths
    model = open_clip_model.CLIP(
        embed, dict(image_size=side, layers=layers[0], width=vision, patch_size=patch),
        dict(context_length=context, vocab_size=VOCABULARY, width=text, heads=text // 64, layers=layers[1]),
        quick_gelu=True,
    )
    state = model.state_dict()
    return open_clip_model.build_model_from_openai_state_dict(dict(state), cast_dtype=torch.float32)


main()
