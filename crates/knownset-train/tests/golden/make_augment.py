"""What Pillow and torchvision make of a picture, for the operations without chance.

Geometry is Pillow's on pictures of floats (mode F); tones are torchvision's on float tensors; what works on levels is
Pillow's on 8 bits, divided by 255. `8-bit.NAME` is Pillow's result where the golden one is of floats. `input` is whole, in
8 bits; of results every seventh value is kept.

Made with Python 3.11, torch 2.15.0, torchvision 0.29.2, Pillow 13.0.0:
    python make_augment.py
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from safetensors.numpy import save_file
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms import functional as F

SIDE = 32

random = np.random.default_rng(5)
rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
waves = np.stack([np.sin(5 * columns + 2 * c) * np.cos(4 * rows - c) for c in range(3)])
picture = np.clip(120 + 70 * waves + random.normal(0, 14, waves.shape), 17, 240).round().astype(np.uint8)
floats = (picture / np.float32(255)).astype(np.float32)
tensor = torch.from_numpy(floats)
image = Image.fromarray(picture.transpose(1, 2, 0))


def planes(change):
    """Each channel as a picture of floats."""
    return np.stack([np.asarray(change(Image.fromarray(plane)), dtype=np.float32) for plane in floats])


def affine(*data):
    return planes(lambda plane: plane.transform((SIDE, SIDE), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR))


def levels(result):
    return (np.asarray(result).transpose(2, 0, 1) / np.float32(255)).astype(np.float32)


def part(x, y, width, height):
    box = (x, y, x + width, y + height)
    return planes(lambda plane: plane.crop(box).resize((SIDE, SIDE), Image.Resampling.BILINEAR))


golden = {
    "rotate.17": planes(lambda plane: plane.rotate(17, Image.Resampling.BILINEAR)),
    "rotate.-30": planes(lambda plane: plane.rotate(-30, Image.Resampling.BILINEAR)),
    "shear-x.0.3": affine(1, 0.3, 0, 0, 1, 0),
    "shear-y.-0.14": affine(1, 0, 0, -0.14, 1, 0),
    "translate-x.5": affine(1, 0, 5, 0, 1, 0),
    "translate-y.-3": affine(1, 0, 0, 0, 1, -3),
    "part.3.2.9.13": part(3, 2, 9, 13),
    "part.0.7.31.1": part(0, 7, 31, 1),
    "auto-contrast": F.autocontrast(tensor),
    "posterize.1": levels(ImageOps.posterize(image, 1)),
    "posterize.6": levels(ImageOps.posterize(image, 6)),
    "solarize.136": levels(ImageOps.solarize(image, 136)),
    "solarize.256": levels(ImageOps.solarize(image, 256)),
    "equalize": levels(ImageOps.equalize(image)),
    "8-bit.rotate.17": levels(image.rotate(17, Image.Resampling.BILINEAR)),
    "8-bit.auto-contrast": levels(ImageOps.autocontrast(image)),
    "8-bit.brightness.1.7": levels(ImageEnhance.Brightness(image).enhance(1.7)),
    "8-bit.sharpness.1.9": levels(ImageEnhance.Sharpness(image).enhance(1.9)),
}
for factor in [0.4, 1.7]:
    golden[f"brightness.{factor}"] = F.adjust_brightness(tensor, factor)
    golden[f"contrast.{factor}"] = F.adjust_contrast(tensor, factor)
    golden[f"colour.{factor}"] = F.adjust_saturation(tensor, factor)
    golden[f"8-bit.contrast.{factor}"] = levels(ImageEnhance.Contrast(image).enhance(factor))
    golden[f"8-bit.colour.{factor}"] = levels(ImageEnhance.Color(image).enhance(factor))
for factor in [0.1, 1.9]:
    golden[f"sharpness.{factor}"] = F.adjust_sharpness(tensor, factor)
for turn in [-0.5, 0.1, 0.37]:
    golden[f"hue.{turn}"] = F.adjust_hue(tensor, turn)

arrays = {name: np.asarray(array, dtype=np.float32).ravel()[::7].copy() for name, array in golden.items()}
arrays["input"] = picture

# RandAugment's magnitudes, a row per operation in torchvision's order and a column per m.
space = RandAugment(interpolation=InterpolationMode.BILINEAR)._augmentation_space(31, (SIDE, SIDE))
arrays["rand-augment"] = np.stack([magnitudes.float().expand(31).numpy() for magnitudes, _ in space.values()])

save_file(arrays, Path(__file__).with_name("augment.safetensors"))
