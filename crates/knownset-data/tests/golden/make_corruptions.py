"""Makes the golden files of the corruptions: what the scripts behind CIFAR-10-C, Tiny-ImageNet-C and ImageNet-C make of a
picture, when their random numbers are ours.

    python make_corruptions.py PATH        # a checkout of github.com/hendrycks/robustness, commit COMMIT below

Writes, beside itself, for each side of 32, 64 and 224 px: corrupt-input-SIDE.png, the picture; corrupt-SIDE.png, 32x32
samples (every first, second or seventh pixel) of all results, one row per kind and one column per severity. The order of
kinds and the seed are below. Frost is left out: it needs the photographs.

The scripts run unchanged but for what has moved since 2019 and for ImageMagick, whose motion blur is that of the package
imagecorruptions. corrupt-versions.txt names the versions it was made with.
"""
import hashlib, io, sys, types
from pathlib import Path

import cv2
import numpy as np
import PIL
import scipy, scipy.ndimage, scipy.stats
import skimage, skimage.color, skimage.filters, skimage.util
from PIL import Image

COMMIT = "8190fe329f5f072a06e3a2aea02bb5dda69aed9f"
SEED = 7
KINDS = [
    "gaussian-noise", "shot-noise", "impulse-noise", "speckle-noise", "defocus-blur", "glass-blur", "motion-blur",
    "zoom-blur", "gaussian-blur", "snow", "fog", "brightness", "spatter", "contrast", "elastic-transform", "pixelate",
    "jpeg-compression", "saturate",
]  # fmt: skip
SCRIPTS = {32: "make_cifar_c.py", 64: "make_tinyimagenet_c.py", 224: "make_imagenet_c.py"}


# --- our random numbers: src/corruptions/draws.rs -----------------------------------------------------------------
def chacha8(key, blocks):
    """Words of ChaCha with 8 rounds, nonce 0, counter from 0."""
    state = np.zeros((16, blocks), np.uint32)
    state[:4] = np.frombuffer(b"expand 32-byte k", "<u4")[:, None]
    state[4:12] = np.frombuffer(key, "<u4")[:, None]
    state[12] = np.arange(blocks)
    x = state.copy()

    def quarter(a, b, c, d):
        for i, j, k, turn in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)]:
            x[i] += x[j]
            x[k] ^= x[i]
            x[k] = (x[k] << np.uint32(turn)) | (x[k] >> np.uint32(32 - turn))

    for _ in range(4):
        for column in range(4):
            quarter(column, 4 + column, 8 + column, 12 + column)
        for column in range(4):
            quarter(column, 4 + (column + 1) % 4, 8 + (column + 2) % 4, 12 + (column + 3) % 4)
    return (x + state).T.ravel()


class Draws:
    def __init__(self, kind, severity):
        key = hashlib.sha256(f"knownset corruptions 1/{kind}/{severity}/{SEED}".encode()).digest()
        self.words, self.used = chacha8(key, 65_536).astype(np.uint64), 0

    def take(self, count):
        self.used += count
        assert self.used <= len(self.words)
        return self.words[self.used - count : self.used]

    def random(self, size=None):
        pairs = self.take(2 * int(np.prod(size if size is not None else 1))).reshape(-1, 2)
        units = ((pairs[:, 1] << np.uint64(32) | pairs[:, 0]) >> np.uint64(11)).astype(np.float64) / 2**53
        return units.reshape(size) if size is not None else units[0]

    def uniform(self, low=0.0, high=1.0, size=None):
        return low + (high - low) * self.random(size)

    def normal(self, loc=0.0, scale=1.0, size=None):
        units = self.random((int(np.prod(size)), 2))
        normal = np.sqrt(-2 * np.log(1 - units[:, 0])) * np.cos(2 * np.pi * units[:, 1])
        return loc + scale * normal.reshape(size)

    def randint(self, low, high, size):
        return low + ((self.take(int(np.prod(size))) * np.uint64(high - low)) >> np.uint64(32)).astype(int).reshape(size)

    def poisson(self, mean):
        return scipy.stats.poisson.ppf(self.random(mean.shape), mean)


# --- what the scripts import --------------------------------------------------------------------------------------
class Wand:
    """ImageMagick's motion blur on a PNG."""

    def __init__(self, blob):
        self.pixels, self.wand = np.asarray(Image.open(io.BytesIO(blob))), self

    def make_blob(self):
        out = io.BytesIO()
        Image.fromarray(self.pixels).save(out, format="PNG")
        return out.getvalue()


def magick_motion_blur(wand, radius, sigma, angle):
    blurred = imagecorruptions_motion_blur(wand.pixels, radius, sigma, angle)
    wand.pixels = np.clip(np.floor(blurred + 0.5), 0, 255).astype(np.uint8)


def stub(name, **attributes):
    sys.modules[name] = module = types.ModuleType(name)
    vars(module).update(attributes)
    parent, _, leaf = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], leaf, module)


stub("torch")
stub("torch.utils")
stub("torch.utils.data", Dataset=object)
stub("torchvision")
stub("torchvision.datasets")
stub("torchvision.transforms")
stub("scipy.ndimage.interpolation", map_coordinates=scipy.ndimage.map_coordinates)
stub("pkg_resources", resource_filename=None)
stub("wand")
stub("wand.image", Image=Wand)
stub("wand.api", library=types.SimpleNamespace(MagickMotionBlurImage=magick_motion_blur))
stub("wand.color")
np.float_, np.fromstring = np.float64, np.frombuffer
gaussian = skimage.filters.gaussian
skimage.filters.gaussian = lambda image, sigma, multichannel=False, **more: gaussian(
    image, sigma, channel_axis=-1 if multichannel else None, **more
)
from imagecorruptions.corruptions import _motion_blur as imagecorruptions_motion_blur


def functions(script):
    """The corruptions of one script, without what it does when it runs."""
    source = script.read_text().split("# /////////////// End Distortions")[0]
    # A plain function takes no argument types.
    source = source.replace("wandlibrary.MagickMotionBlurImage.argtypes =", "_ =")
    # Pillow 13 guesses the mode by itself.
    source = source.replace(", mode='L')", ")")
    names = {}
    exec(compile(source, str(script), "exec"), names)
    return names


def picture(side):
    """Smooth colours, a disc, stripes, a dark and a light corner."""
    y, x = np.mgrid[0:side, 0:side] / (side - 1)
    rgb = np.stack([0.3 + 0.5 * x, 0.25 + 0.5 * y, 0.75 - 0.4 * x * y], -1)
    rgb[(x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06] = (0.85, 0.2, 0.15)
    rgb[((12 * (x + y)).astype(int) % 2 == 0) & (x < 0.4) & (y > 0.6)] = (0.95, 0.9, 0.5)
    rgb[(x > 0.85) & (y > 0.85)] = 0
    rgb[(x < 0.1) & (y < 0.1)] = 1
    return Image.fromarray(np.round(rgb * 255).astype(np.uint8))


root = Path(sys.argv[1]) / "ImageNet-C/create_c"
here = Path(__file__).parent
for side, script in SCRIPTS.items():
    names = functions(root / script)
    image = picture(side)
    image.save(here / f"corrupt-input-{side}.png", optimize=True)
    sheet = np.zeros((32 * len(KINDS), 32 * 5, 3), np.uint8)
    for row, kind in enumerate(KINDS):
        for severity in range(1, 6):
            draws = Draws(kind, severity)
            for name in ["normal", "uniform", "randint", "poisson"]:
                setattr(np.random, name, getattr(draws, name))
            np.random.default_rng = lambda *_, draws=draws: draws
            result = np.uint8(names[kind.replace("-", "_")](image, severity))
            assert result.shape == (side, side, 3), (kind, result.shape)
            sheet[32 * row : 32 * row + 32, 32 * (severity - 1) : 32 * severity] = result[:: side // 32, :: side // 32]
    Image.fromarray(sheet).save(here / f"corrupt-{side}.png", optimize=True)

(here / "corrupt-versions.txt").write_text(
    f"python {sys.version.split()[0]}\nhendrycks/robustness {COMMIT}\nimagecorruptions 1.1.2\nnumpy {np.__version__}\n"
    f"scipy {scipy.__version__}\nscikit-image {skimage.__version__}\nopencv {cv2.__version__}\npillow {PIL.__version__}\n"
)
