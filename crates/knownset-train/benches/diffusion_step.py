"""The same steps with diffusers: python benches/diffusion_step.py (torch, diffusers, two threads)."""

import time

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch.nn import functional as F

BATCH, STEPS, SAMPLING_STEPS = 32, 6, 20
torch.set_num_threads(2)
torch.manual_seed(0)


def autoencoder():
    return AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(16, 32, 64), layers_per_block=1,
        norm_num_groups=8, down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
    )


def unet():
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(64, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=128, attention_head_dim=4, norm_num_groups=16, use_linear_projection=True,
    )


def rate(network, loss):
    adam = torch.optim.AdamW(network.parameters(), 1e-3, (0.9, 0.98), 1e-6, 0.01)
    for step in range(STEPS):
        if step == 1:
            started = time.perf_counter()
        adam.zero_grad()
        loss(network).backward()
        adam.step()
    return BATCH * (STEPS - 1) / (time.perf_counter() - started)


def autoencoder_loss(network, images):
    posterior = network.encode(images).latent_dist
    decoded = network.decode(posterior.sample()).sample
    return (F.l1_loss(decoded, images, reduction="sum") + 1e-6 * posterior.kl().sum()) / images.numel()


def best(make, loss):
    """Images a second in the better of two memory layouts."""
    layouts = [torch.contiguous_format, torch.channels_last]
    return max(rate(make().to(memory_format=layout), lambda network: loss(network, layout)) for layout in layouts)


images = torch.rand(BATCH, 3, 64, 64) * 2 - 1
found = best(autoencoder, lambda network, layout: autoencoder_loss(network, images.to(memory_format=layout)))
print(f"autoencoder, batch {BATCH}: {found:.1f} images/s")

latents, contexts = torch.randn(BATCH, 4, 16, 16), torch.randn(BATCH, 32, 128)
times = torch.randint(0, 1000, (BATCH,))
found = best(
    unet,
    lambda network, layout: F.mse_loss(network(latents.to(memory_format=layout), times, contexts).sample, latents),
)
print(f"UNet, batch {BATCH}: {found:.1f} images/s")


def fastest(make, call):
    """Seconds of a call in the better of two memory layouts."""
    def seconds(layout):
        network, pair = make().eval().to(memory_format=layout), torch.randn(2, 4, 16, 16).to(memory_format=layout)
        call(network, pair)
        started = time.perf_counter()
        for _ in range(SAMPLING_STEPS):
            call(network, pair)
        return (time.perf_counter() - started) / SAMPLING_STEPS

    with torch.no_grad():
        return min(seconds(layout) for layout in (torch.contiguous_format, torch.channels_last))


step = fastest(unet, lambda network, pair: network(pair, 500, contexts[:2]))
decoded = fastest(autoencoder, lambda network, pair: network.decode(pair[:1]))
print(f"a guided step {1e3 * step:.1f} ms, decoding {1e3 * decoded:.1f} ms")
