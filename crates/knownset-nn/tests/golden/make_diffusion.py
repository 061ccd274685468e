"""Makes diffusion/: tiny Stable Diffusion folders as diffusers saves them, and what diffusers says with them.

Weights come from their names (`value`), rounded to what the file keeps. The folders get their tokenizer from
tokenizer/small, so make_tokenizer.py comes first. `schedulers.safetensors` has every scheduler's walk without a network:
its answers are `hashed`.

Made with Python 3.11, torch 2.15.0, transformers 5.23.0, diffusers 0.42.1:
    python make_diffusion.py
"""

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from make_backbones import hashed, value
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).parent / "diffusion"
SMALL = Path(__file__).parent / "tokenizer" / "small"
TEXTS = ["a small red cat.", "", "a wooden lighthouse near the old river", "word " * 40]
VOCABULARY, END = 814, 813
SCHEDULERS = {"ddim": DDIMScheduler, "pndm": PNDMScheduler, "euler": EulerDiscreteScheduler}
STEPS, GUIDANCE = 10, 7.5


def numbers(name, *shape):
    return torch.from_numpy(hashed(name, int(np.prod(shape))).astype(np.float32).reshape(shape))


def fill(model, dtype):
    """Every parameter by its name, rounded to `dtype`."""
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(value(key, tuple(parameter.shape)).to(dtype))
    return model.eval()


def plain(array):
    return array.detach().float().contiguous()


# === Networks


def folder(name, text, unet, vae, scheduler, dtypes, shard, latent):
    """`dtypes` are those of text encoder, UNet and autoencoder; `latent` is the latents' height and width."""
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    text = dict(vocab_size=VOCABULARY, bos_token_id=END - 1, eos_token_id=END, pad_token_id=END) | text
    parts = {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        "unet": UNet2DConditionModel(**unet),
        "vae": AutoencoderKL(**vae),
    }
    for (part, model), dtype in zip(parts.items(), dtypes):
        fill(model, dtype).to(dtype).save_pretrained(path / part, **({"max_shard_size": shard} if part == "unet" else {}))
        model.float()
    scheduler.save_pretrained(path / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "requires_safety_checker": True,
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", type(scheduler).__name__],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (path / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")

    expected = {}
    model, tokenizer = parts["text_encoder"], CLIPTokenizer.from_pretrained(SMALL)
    length = text["max_position_embeddings"]
    ids = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=length, return_tensors="pt")["input_ids"]
    channels, context, (height, width) = unet["in_channels"], text["hidden_size"], latent
    up = 2 ** (len(vae["block_out_channels"]) - 1)
    with torch.no_grad():
        expected["text"] = model(ids)[0]
        sample, states = numbers("sample", 2, channels, height, width), numbers("context", 2, 9, context)
        expected["unet"] = parts["unet"](sample, torch.tensor([1.0, 887.25]), states).sample
        moments = parts["vae"].encode(numbers("image", 2, 3, up * height, up * width)).latent_dist
        expected["vae.mean"], expected["vae.deviation"] = moments.mean, moments.std
        expected["vae.decoded"] = parts["vae"].decode(sample).sample
    expected |= pipelines(parts, path / "scheduler", channels, length, context, latent)
    save_file({key: plain(array) for key, array in expected.items()}, path / "expected.safetensors")


def pipelines(parts, scheduler, channels, length, context, latent):
    """The whole, with every scheduler made from the folder's file, and without guidance."""
    noise, states = numbers("noise", 2, channels, *latent), numbers("fake tokens", 2, length, context)
    expected = {}
    for name, kind in SCHEDULERS.items():
        for guidance in [GUIDANCE, 1.0] if name == "ddim" else [GUIDANCE]:
            results = []
            for dtype in (torch.float32, torch.float64):
                pipe = StableDiffusionPipeline(
                    vae=parts["vae"].to(dtype), text_encoder=parts["text_encoder"].to(dtype), tokenizer=None,
                    unet=parts["unet"].to(dtype), scheduler=kind.from_pretrained(scheduler), safety_checker=None,
                    feature_extractor=None, requires_safety_checker=False,
                )
                pipe.set_progress_bar_config(disable=True)
                tokenizer = CLIPTokenizer.from_pretrained(SMALL)
                ids = tokenizer([""], padding="max_length", truncation=True, max_length=length, return_tensors="pt")
                with torch.no_grad():
                    empty = parts["text_encoder"](ids["input_ids"])[0].expand(2, -1, -1)
                call = dict(
                    prompt_embeds=states.to(dtype), negative_prompt_embeds=empty, latents=noise.to(dtype),
                    num_inference_steps=STEPS, guidance_scale=guidance,
                )
                latents = pipe(**call, output_type="latent").images
                results.append((latents, torch.from_numpy(pipe(**call, output_type="np").images)))
            for part in parts.values():
                part.float()
            key = name if guidance == GUIDANCE else f"{name}.unguided"
            (latents, images), (exact, _) = results
            error = ((latents - exact).abs().max() / exact.abs().max()).item()
            inside = ((images > 0) & (images < 1)).float().mean().item()
            print(f"{key}: float32 is off by {error:.1e}, {inside:.0%} of the images inside 0..1")
            assert error < 1e-4 and inside > 0.5
            expected[f"{key}.latents"], expected[f"{key}.images"] = latents, images
    return expected


# === Schedulers

STABLE = dict(
    beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, steps_offset=1, skip_prk_steps=True,
    set_alpha_to_one=False, clip_sample=False,
)
VELOCITY = dict(
    beta_schedule="linear", beta_start=0.0002, beta_end=0.03, num_train_timesteps=700, prediction_type="v_prediction",
    timestep_spacing="trailing", skip_prk_steps=True, set_alpha_to_one=True, clip_sample=False, steps_offset=0,
)
COSINE = dict(
    beta_schedule="squaredcos_cap_v2", num_train_timesteps=400, timestep_spacing="linspace", skip_prk_steps=True,
    clip_sample=True, clip_sample_range=1.5,
)
CONFIGURATIONS = {"stable": STABLE, "velocity": VELOCITY, "cosine": COSINE, "absent": {}}


def walk(scheduler, eta=None):
    """Timesteps, the sample's first scale, and the sample after each step."""
    scheduler.set_timesteps(STEPS)
    sample = numbers("walk", 1, 3, 5) * scheduler.init_noise_sigma
    samples, inputs = [], []
    for step, timestep in enumerate(scheduler.timesteps):
        inputs.append(scheduler.scale_model_input(sample, timestep))
        answer = numbers(f"answer {step}", 1, 3, 5)
        further = {} if eta is None else dict(eta=eta, variance_noise=numbers(f"noise {step}", 1, 3, 5))
        sample = scheduler.step(answer, timestep, sample, **further).prev_sample
        samples.append(sample)
    return scheduler.timesteps, torch.as_tensor(scheduler.init_noise_sigma).reshape(1), torch.cat(inputs), torch.cat(samples)


def schedulers():
    (HERE / "schedulers").mkdir(parents=True, exist_ok=True)
    expected = {}
    for configuration, settings in CONFIGURATIONS.items():
        # As a folder has them: whatever scheduler saved it, others are made from the same file.
        content = dict(_class_name="PNDMScheduler", _diffusers_version="0.42.1", trained_betas=None) | settings
        (HERE / "schedulers" / f"{configuration}.json").write_text(json.dumps(content, indent=2) + "\n")
        for name, kind in SCHEDULERS.items():
            for eta in [None, 0.7] if name == "ddim" else [None]:
                key = f"{configuration}.{name}" + ("" if eta is None else ".eta")
                arrays = walk(kind.from_config(content), eta)
                for part, array in zip(("timesteps", "scale", "inputs", "samples"), arrays):
                    expected[f"{key}.{part}"] = plain(array)
    save_file(expected, HERE / "schedulers" / "expected.safetensors")

    # Timesteps for many numbers of steps, where rounding and whole division bite.
    lists = {}
    for spacing in ("leading", "linspace", "trailing"):
        scheduler = DDIMScheduler(timestep_spacing=spacing)
        for steps in (1, 2, 3, 6, 7, 9, 11, 17, 30, 33, 50, 64, 99, 150, 333, 400, 999, 1000):
            scheduler.set_timesteps(steps)
            assert len(scheduler.timesteps) == steps
            lists[f"{spacing} {steps}"] = scheduler.timesteps.tolist()
    (HERE / "schedulers" / "timesteps.json").write_text(json.dumps(lists, separators=(",", ":")) + "\n")


def main():
    schedulers()
    folder(
        "sd1",
        dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=16),
        dict(
            in_channels=4, out_channels=4, sample_size=8, block_out_channels=(8, 16, 24), layers_per_block=2,
            down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
            norm_num_groups=4, norm_eps=1e-4, attention_head_dim=2, cross_attention_dim=24,
        ),
        dict(
            block_out_channels=(6, 12), layers_per_block=1, norm_num_groups=3, latent_channels=4, scaling_factor=0.25,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        PNDMScheduler(**{key: setting for key, setting in STABLE.items() if key != "clip_sample"}),
        dtypes=(torch.float32, torch.float32, torch.float32), shard="5GB", latent=(6, 10),
    )
    folder(
        "sd2",
        dict(
            hidden_size=20, intermediate_size=28, num_hidden_layers=3, num_attention_heads=5, max_position_embeddings=12,
            hidden_act="gelu", layer_norm_eps=1e-3,
        ),
        dict(
            in_channels=3, out_channels=3, sample_size=8, block_out_channels=(12, 24), layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=6, attention_head_dim=(3, 4), cross_attention_dim=20, use_linear_projection=True,
            transformer_layers_per_block=2, flip_sin_to_cos=False, freq_shift=1,
        ),
        dict(
            block_out_channels=(4, 8, 8), layers_per_block=2, norm_num_groups=2, latent_channels=3, scaling_factor=0.7,
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        ),
        # Without skip_prk_steps; StableDiffusionPipeline sets steps_offset and takes the clipping back.
        DDIMScheduler(
            num_train_timesteps=700, beta_schedule="linear", beta_start=0.0002, beta_end=0.03,
            prediction_type="v_prediction",
        ),
        dtypes=(torch.float16, torch.float16, torch.bfloat16), shard="60KB", latent=(5, 7),
    )
    assert len(list((HERE / "sd2" / "unet").glob("*-of-*.safetensors"))) > 1
    files = [path for path in HERE.rglob("*") if path.is_file()]
    largest = max((path.stat().st_size, str(path.relative_to(HERE))) for path in files)
    print("largest file:", *largest, "all:", sum(path.stat().st_size for path in files))


main()
