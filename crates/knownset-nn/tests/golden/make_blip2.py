"""Makes blip2/: two tiny BLIP-2 checkpoints as transformers saves them, and what it says and writes with them.

- half: float16 but for the Q-Former, as the model keeps it; one file; `tokenizer.json`; placeholders for the image's vectors.
- legacy: float32 in shards, the tied head stored a second time; `vocab.json` and `merges.txt`; a configuration without
  `image_token_index`, as releases before placeholders have it.

Each has a `generation_config.json` that says something else, which `generate` does not read.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, tokenizers 0.23.3:
    python make_blip2.py
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import torch
from make_backbones import hashed
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import Blip2Config, Blip2ForConditionalGeneration, BlipImageProcessor, PreTrainedTokenizerFast

HERE = Path(__file__).parent / "blip2"
BOS, PAD, IMAGE = 2, 1, "<image>"
torch.set_num_threads(1)
PLAIN = re.compile("Ġ?[a-zA-Z.,?]+")
PROMPT = "Question: what is it? Answer:"
# What a vocabulary is learnt from, and what tokenizers are tried on.
CORPUS = [
    "a small red cat on a table", "two dogs in the grass", "a photo of an old house near the river",
    "Question: what is it? Answer: a bird", "a red bird on a house", "the cat is in the house",
]
TEXTS = [PROMPT, "", " a cat", "a  cat\n", "The CAT's 12 kin,don't  ask!", "café 日本 \U0001f600", "</s>a<pad> <s>", "\t x"]


def images(side, count):
    return torch.from_numpy(hashed("images", count * 3 * side * side).astype(np.float32).reshape(count, 3, side, side))


def learnt_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", BOS)])
    return tokenizer


def as_opt_has_it(tokenizer):
    """OPT's special tokens are `</s>` and `<pad>`; `<s>` and `<unk>` are but entries of the vocabulary."""
    content = json.loads(tokenizer.to_str())
    special = [token for token in content["added_tokens"] if token["content"] in ("</s>", "<pad>")]
    content["added_tokens"] = special
    tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.add_special_tokens([AddedToken(IMAGE, special=True, normalized=False)])
    return tokenizer


def random_weights(model, tokenizer, seed):
    """Normal everywhere: matrices keep the signal's size, biases and normalisations are far from what they begin with.

    Tokens that are no plain text have short vectors, so that captions can be read.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            value = 0.2 * noise
        elif parameter.dim() == 1:
            value = 1 + 0.2 * noise
        elif "embed_tokens" in name:
            plain = [bool(PLAIN.fullmatch(tokenizer.id_to_token(id) or "")) for id in range(len(noise))]
            value = noise * torch.tensor([0.4 if is_plain else 0.02 for is_plain in plain])[:, None]
        elif "position" in name or "query_tokens" in name or "class_embedding" in name:
            value = noise
        else:
            value = noise * (2 / parameter[0].numel() ** 0.5)
        parameter.data.copy_(value)


def newline_for(model, token, newline):
    """Gives `token`'s vector to the newline, which ends captions, and the other way round: a token that most captions of
    these weights have somewhere, so that they end early, late or not at all."""
    vectors = model.language_model.get_input_embeddings().weight.data
    vectors[[token, newline]] = vectors[[newline, token]]


@torch.no_grad()
def written(model, pixels, tokenizer, **options):
    """Tokens written after the prompt, up to the end token and with it; and the text."""
    count = model.config.num_query_tokens
    if "prompt" in options:
        ids = tokenizer.encode(options.pop("prompt")).ids
        start = torch.tensor([[model.config.image_token_index] * count + ids] * len(pixels))
        options |= dict(input_ids=start, attention_mask=torch.ones_like(start))
        given = start.shape[1]
    else:
        given = count + 1
    rows = model.generate(pixel_values=pixels, do_sample=False, **options)[:, given:].tolist()
    end = model.config.text_config.eos_token_id
    rows = [row[: row.index(end) + 1] if end in row else row for row in rows]
    texts = [tokenizer.decode(row, skip_special_tokens=True).strip() for row in rows]
    return [dict(tokens=row, text=text) for row, text in zip(rows, texts)]


@torch.no_grad()
def margins(model, pixels, rows):
    """How far the token written was ahead of the next best, at the least."""
    least = float("inf")
    for pixel, row in zip(pixels, rows):
        start = [model.config.image_token_index] * model.config.num_query_tokens + [BOS]
        ids = torch.tensor([start + row["tokens"]])
        logits = model(pixel_values=pixel[None], input_ids=ids).logits[0, len(start) - 1 : -1]
        best = logits.topk(2).values
        assert logits.argmax(-1).tolist() == row["tokens"]
        least = min(least, (best[:, 0] - best[:, 1]).min().item())
    return least


@torch.no_grad()
def check(name, model, tokenizer, side):
    pixels = images(side, 5)
    captions = written(model, pixels, tokenizer)
    answers = written(model, pixels[:3], tokenizer, prompt=PROMPT, max_new_tokens=7)
    print(name, "margin", margins(model, pixels, captions))
    for row in captions + answers:
        print("   ", row)
    # Written alone or in company, with or without a cache, the same.
    assert [written(model, pixel[None], tokenizer)[0] for pixel in pixels] == captions
    assert written(model, pixels, tokenizer, use_cache=False) == captions

    pixels = pixels[:3]
    seen = model.vision_model(pixels).last_hidden_state
    queries = model.qformer(
        query_embeds=model.query_tokens.expand(3, -1, -1), encoder_hidden_states=seen
    ).last_hidden_state
    prefix = model.language_projection(queries)
    steps = 4
    ids = torch.tensor([[BOS] + row["tokens"][:steps] for row in captions[:3]])
    vectors = torch.cat([prefix, model.get_input_embeddings()(ids)], 1)
    logits = model.language_model(inputs_embeds=vectors).logits
    first = prefix.shape[1] + 1
    output = model.language_model(inputs_embeds=vectors[:, :first], use_cache=True)
    cached = [output.logits[:, -1]]
    for step in range(steps):
        output = model.language_model(
            inputs_embeds=vectors[:, first + step : first + step + 1], past_key_values=output.past_key_values, use_cache=True
        )
        cached.append(output.logits[:, -1])
    arrays = dict(seen=seen, queries=queries, prefix=prefix, ids=ids.float(), logits=logits, cached=torch.stack(cached, 1))
    save_file({key: array.contiguous() for key, array in arrays.items()}, HERE / name / "expected.safetensors")
    tokens = [
        dict(text=text, ids=tokenizer.encode(text, add_special_tokens=False).ids, back=tokenizer.decode(tokenizer.encode(text).ids))
        for text in TEXTS
    ]
    # Bytes that are no text, and tokens that the vocabulary lacks, which a model with more of them can write.
    odd = [dict(ids=ids, back=tokenizer.decode(ids)) for ids in ([239, 112, 239], [40, 303, 41])]
    expected = dict(prompt=PROMPT, captions=captions, answers=answers, texts=tokens, tokens=odd)
    lines = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in expected.items()]
    (HERE / name / "expected.json").write_text("{" + ",\n".join(lines) + "}\n")


def checkpoint(name, seed, vision, qformer, text, queries, end, dtype=torch.float32, shard="5GB"):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tokenizer = as_opt_has_it(learnt_tokenizer())
    newline = tokenizer.encode("\n", add_special_tokens=False).ids[0]
    config = Blip2Config(
        vision_config=vision, qformer_config=qformer, num_query_tokens=queries,
        image_token_index=tokenizer.token_to_id(IMAGE),
        text_config=text | dict(model_type="opt", bos_token_id=BOS, pad_token_id=PAD, eos_token_id=newline),
    )
    model = Blip2ForConditionalGeneration(config).eval()
    random_weights(model, tokenizer, seed)
    newline_for(model, end, newline)
    # Every value as the file will hold it.
    rounded = {key: value.to(stored(key, dtype)) for key, value in model.state_dict().items()}
    model.load_state_dict({key: value.float() for key, value in rounded.items()})
    side = vision["image_size"]
    check(name, model, tokenizer, side)

    for key, parameter in model.named_parameters():
        parameter.data = parameter.data.to(stored(key, dtype))
    model.save_pretrained(folder, max_shard_size=shard)
    BlipImageProcessor(size={"height": side, "width": side}).save_pretrained(folder)
    other = {"bos_token_id": 0, "eos_token_id": 0, "max_new_tokens": 3, "pad_token_id": 0}
    (folder / "generation_config.json").write_text(json.dumps(other) + "\n")
    return folder, model, tokenizer


def stored(key, dtype):
    return torch.float32 if key.startswith(("qformer.", "query_tokens")) else dtype


def main():
    folder, _, tokenizer = checkpoint(
        "half", seed=23, queries=5, dtype=torch.float16, end=54,
        vision=dict(
            hidden_size=24, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, image_size=20, patch_size=5,
            layer_norm_eps=1e-3,
        ),
        qformer=dict(
            hidden_size=18, intermediate_size=30, num_hidden_layers=4, num_attention_heads=3, cross_attention_frequency=3,
            layer_norm_eps=1e-3,
        ),
        text=dict(
            hidden_size=32, ffn_dim=44, num_hidden_layers=3, num_attention_heads=4, vocab_size=320,
            max_position_embeddings=48, word_embed_proj_dim=32,
        ),
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>"
    ).save_pretrained(folder)

    folder, model, tokenizer = checkpoint(
        "legacy", seed=17, queries=3, shard="60KB", end=46,
        vision=dict(
            hidden_size=20, intermediate_size=28, num_hidden_layers=2, num_attention_heads=2, image_size=30, patch_size=8,
        ),
        qformer=dict(hidden_size=16, intermediate_size=36, num_hidden_layers=3, num_attention_heads=2),
        text=dict(hidden_size=24, ffn_dim=40, num_hidden_layers=2, num_attention_heads=3, vocab_size=304, max_position_embeddings=64),
    )
    edit(folder / "config.json", as_it_was)
    twice(folder)
    content = json.loads(tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(content["vocab"], ensure_ascii=False) + "\n")
    merges = [" ".join(merge) for merge in content["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n")
    special = dict(bos_token="</s>", eos_token="</s>", unk_token="</s>", pad_token="<pad>")
    (folder / "special_tokens_map.json").write_text(json.dumps(special) + "\n")
    shards = len(list(folder.glob("model-*-of-*.safetensors")))
    largest = max((path.stat().st_size, str(path.relative_to(HERE))) for path in HERE.rglob("*") if path.is_file())
    print(shards, "shards; largest file:", *largest)


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content, indent=2) + "\n")


def as_it_was(config):
    """What older releases do not say, and what transformers fills in by itself."""
    del config["image_token_index"]
    for section, keys in {
        "vision_config": ["hidden_act", "layer_norm_eps", "qkv_bias"],
        "qformer_config": ["hidden_act", "layer_norm_eps", "cross_attention_frequency", "use_qformer_text_input"],
        "text_config": [
            "activation_function", "bos_token_id", "do_layer_norm_before", "enable_bias", "_remove_final_layer_norm",
            "layer_norm_elementwise_affine", "tie_word_embeddings", "word_embed_proj_dim",
        ],
    }.items():
        for key in keys:
            del config[section][key]


def twice(folder):
    """The head's tensor beside the embeddings it is tied to, in another file."""
    index = folder / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    words = "language_model.model.decoder.embed_tokens.weight"
    other = next(file for file in sorted(places.values()) if file != places[words])
    tensors = load_file(folder / other)
    tensors["language_model.lm_head.weight"] = load_file(folder / places[words])[words]
    save_file(tensors, folder / other, metadata={"format": "pt"})
    edit(index, lambda content: content["weight_map"].update({"language_model.lm_head.weight": other}))


if __name__ == "__main__":
    main()
