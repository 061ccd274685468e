"""Makes the golden files next to it: images with the RGB pixels PIL sees in them, torchvision's preprocessing of one
of them, and CIFAR batches pickled in three ways.

versions.txt names the versions it was made with; Pillow must be 12 or older, see src/resample.rs. Run it in this folder.
"""
import json, pickle, struct, sys, zlib
from pathlib import Path

import numpy as np
import PIL
import torch, torchvision
from PIL import Image
from torchvision import transforms as T
from torchvision.transforms import InterpolationMode as Mode

assert int(PIL.__version__.split(".")[0]) <= 12, "Pillow 13 resizes some images in another order"
Path("versions.txt").write_text(
    f"python {sys.version.split()[0]}\npillow {PIL.__version__}\ntorch {torch.__version__}\n"
    f"torchvision {torchvision.__version__}\nnumpy {np.__version__}\n"
)


def picture(width, height):
    """Smooth colours, one hard edge, some noise."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([128 + 100 * np.sin(x / 5), 255 * y / height, 128 + 90 * np.cos((x + y) / 7)], -1)
    rgb[:, width // 2 : width // 2 + 3] = (250, 20, 10)
    return np.clip(rgb + np.random.default_rng(0).normal(0, 12, rgb.shape), 0, 255).astype(np.uint8)


def png(width, height, depth, colour, rows):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


# --- images and what PIL sees -------------------------------------------------------------------------------------
W, H = 29, 23
rgb = Image.fromarray(picture(W, H))
alpha = Image.fromarray((np.mgrid[0:H, 0:W][1] * 8).astype(np.uint8))
rgba = rgb.copy()
rgba.putalpha(alpha)
grey = rgb.convert("L")
grey_alpha = grey.copy()
grey_alpha.putalpha(alpha)
palette = rgb.quantize(16)
wide = (picture(W, H).astype(np.uint16) * 256 + 200).astype(">u2")  # high bytes are the picture's
dim = picture(W, H)[..., 0].astype(">u2") * 2  # around 255, where PIL clips 16-bit grey

rgb.save("rgb.png")
rgba.save("rgba.png")
grey.save("grey.png")
grey_alpha.save("grey-alpha.png")
rgb.convert("1").save("bilevel.png")
palette.save("palette.png")
palette.save("palette-transparent.png", transparency=3)
Path("rgb16.png").write_bytes(png(W, H, 16, 2, [row.tobytes() for row in wide]))
Path("grey16.png").write_bytes(png(W, H, 16, 0, [row.astype(">u2").tobytes() for row in dim]))
rgb.save("q90-444.jpg", quality=90, subsampling=0)
rgb.save("q75-420.jpg", quality=75, subsampling=2)
rgb.save("q75-422.jpg", quality=75, subsampling=1)
rgb.save("progressive.jpg", quality=80, progressive=True)
grey.save("grey.jpg", quality=80)
rgb.convert("CMYK").save("cmyk.jpg", quality=90)
exif = Image.Exif()
exif[0x0112] = 6
rgb.save("rotated-exif.jpg", quality=90, subsampling=0, exif=exif)
palette.save("still.gif")
palette.save("transparent.gif", transparency=3)
palette.save("animated.gif", save_all=True, append_images=[Image.fromarray(255 - picture(W, H)).quantize(16)], duration=9)
rgb.save("rgb.bmp")
palette.save("palette.bmp")
rgb.save("lossless.webp", lossless=True)
rgba.save("alpha.webp", lossless=True, exact=True)
rgb.save("lossy.webp", quality=80)
rgb.save("plain.tif")
rgb.save("lzw.tif", compression="tiff_lzw")
grey.save("grey.tif")

seen = {}
for path in sorted(Path(".").iterdir()):
    if path.suffix in {".png", ".jpg", ".gif", ".bmp", ".webp", ".tif"}:
        image = Image.open(path)
        mode, pixels = image.mode, np.asarray(image.convert("RGB"))
        Path(path.name + ".rgb").write_bytes(pixels.tobytes())
        seen[path.name] = {"width": pixels.shape[1], "height": pixels.shape[0], "mode": mode}
Path("decode.json").write_text(json.dumps(seen, indent=1) + "\n")

# --- preprocessing ------------------------------------------------------------------------------------------------
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FILTERS = {"nearest": Mode.NEAREST, "bilinear": Mode.BILINEAR, "bicubic": Mode.BICUBIC}
cases = []
for width, height in [(97, 61), (40, 83), (17, 13)]:
    name = f"input-{width}x{height}.rgb"
    source = Image.fromarray(picture(width, height))
    Path(name).write_bytes(np.asarray(source).tobytes())
    for kind, size, crop, filter in [
        ("shorter", 32, 32, "bicubic"),
        ("shorter", 32, 32, "bilinear"),
        ("shorter", 13, 11, "bilinear"),
        ("shorter", 19, 24, "bicubic"),
        ("exact", 32, 32, "bicubic"),
        ("exact", 32, 29, "bilinear"),
        ("exact", 21, 21, "nearest"),
    ]:
        resize = T.Resize(size if kind == "shorter" else (size, size), interpolation=FILTERS[filter])
        pipeline = T.Compose([resize, T.CenterCrop(crop), T.ToTensor(), T.Normalize(MEAN, STD)])
        output = f"output-{width}x{height}-{kind}-{size}-{crop}-{filter}"
        pixels = np.asarray(T.CenterCrop(crop)(resize(source)))
        Path(output + ".rgb").write_bytes(pixels.tobytes())
        tensor = pipeline(source)
        # The whole tensor follows from the pixels; its sum in order and first values pin the arithmetic.
        cases.append(
            {"input": name, "width": width, "height": height, "kind": kind, "size": size, "crop": crop, "filter": filter,
             "pixels": output + ".rgb", "first": tensor.flatten()[:8].tolist(), "last": tensor.flatten()[-8:].tolist()}
        )
# All 256 values through ToTensor and Normalize, as little-endian f32 [3, 16, 16].
ramp = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, 2)
tensor = T.Compose([T.ToTensor(), T.Normalize(MEAN, STD)])(Image.fromarray(ramp))
Path("normalize.f32").write_bytes(tensor.numpy().astype("<f4").tobytes())
# Centre crops alone, every parity: sizes in 1..12 cropped to 1..12; the value is the source's column, 255 is border.
crops = []
for length in range(1, 13):
    for size in range(1, 13):
        row = Image.fromarray(np.arange(1, length + 1, dtype=np.uint8)[None, :].repeat(length, 0))
        cropped = np.asarray(T.CenterCrop(size)(row))
        crops.append([length, size, [int(v) for v in cropped[size // 2]]])
Path("preprocess.json").write_text(json.dumps({"cases": cases, "crops": crops}) + "\n")

# --- CIFAR batches ------------------------------------------------------------------------------------------------
data = np.zeros((2, 3072), np.uint8)
data[0, [0, 1, 32, 1024, 3071]] = [255, 1, 2, 3, 4]
data[1, 2048:2080] = range(200, 232)
batch = {b"batch_label": b"training batch 1 of 5", b"labels": [3, 9], b"data": data, b"filenames": [b"a.png", b"b.png"]}
fine = {b"fine_labels": [99, 0], b"coarse_labels": [1, 2], b"data": data}
Path("protocol2.pkl").write_bytes(pickle.dumps(batch, protocol=2))
Path("protocol4.pkl").write_bytes(pickle.dumps(batch, protocol=4))
Path("fine.pkl").write_bytes(pickle.dumps(fine, protocol=2))


def short(text):
    return b"U" + bytes([len(text)]) + text


# The released files were written by Python 2's cPickle, protocol 2, whose str is SHORT_BINSTRING or BINSTRING.
released = b"\x80\x02}q\x01(" + short(b"data") + b"q\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04"
released += b"K\x00\x85" + short(b"b") + b"\x87Rq\x05(K\x01K\x02M\x00\x0c\x86cnumpy\ndtype\nq\x06" + short(b"u1")
released += b"K\x00K\x01\x87Rq\x07(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
released += b"T" + struct.pack("<I", data.nbytes) + data.tobytes() + b"tb" + short(b"labels") + b"q\x08]q\x09(K\x03K\x09e"
released += short(b"batch_label") + short(b"training batch 1 of 5") + b"u."
loaded = pickle.loads(released, encoding="bytes")
assert (loaded[b"data"] == data).all() and loaded[b"labels"] == [3, 9]
Path("python2.pkl").write_bytes(released)
