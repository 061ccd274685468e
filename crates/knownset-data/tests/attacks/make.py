"""Makes the museum of bad inputs next to it; Python's standard library and Pillow only. Run it in this folder.

Each file is what someone could hand to the program; the tests check that it is refused, and by which words.
"""
import io, os, pickle, struct, zipfile, zlib
from pathlib import Path

from PIL import Image


class Evil:
    """Unpickling this runs a command that leaves a file behind."""

    def __reduce__(self):
        return (os.system, ("touch pickle-was-run",))


for protocol in (2, 4):
    Path(f"evil-protocol{protocol}.pkl").write_bytes(pickle.dumps({b"data": Evil(), b"labels": [1]}, protocol=protocol))

jpeg = io.BytesIO()
Image.effect_mandelbrot((48, 40), (-3, -2.5, 2, 2.5), 100).convert("RGB").save(jpeg, "jpeg", quality=90)
jpeg = jpeg.getvalue()
Path("whole.jpg").write_bytes(jpeg)
scan = jpeg.index(b"\xff\xda")
Path("truncated.jpg").write_bytes(jpeg[: (scan + len(jpeg)) // 2])
Path("truncated.png").write_bytes(Path("../golden/rgb.png").read_bytes()[:300])

# Headers that promise 65,500 x 65,500 pixels.
frame = jpeg.index(b"\xff\xc0") + 5
Path("huge-header.jpg").write_bytes(jpeg[:frame] + struct.pack(">HH", 65500, 65500) + jpeg[frame + 4 :])


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


header = struct.pack(">IIBBBBB", 65500, 65500, 8, 2, 0, 0, 0)
Path("huge-header.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def archive(name, *entries):
    with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as file:
        for entry, data in entries:
            info = entry if isinstance(entry, zipfile.ZipInfo) else zipfile.ZipInfo(entry)
            info.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(info, data)


archive("bomb.zip", ("a/zeros.png", bytes(4 << 20)))
archive("escape.zip", ("a/ok.jpg", jpeg), ("../escaped.png", b"x"))
archive("absolute.zip", ("a/ok.jpg", jpeg), ("/etc/escaped.png", b"x"))
link = zipfile.ZipInfo("a/link.png")
link.create_system, link.external_attr = 3, 0o120777 << 16
archive("link.zip", ("a/ok.jpg", jpeg), (link, b"/etc/passwd"))

# A central directory that promises fewer bytes than are stored: 100 instead of 1,000.
archive("lying-size.zip", ("a/liar.png", bytes(range(250)) * 4))
lying = Path("lying-size.zip").read_bytes()
Path("lying-size.zip").write_bytes(lying.replace(struct.pack("<I", 1000), struct.pack("<I", 100)))

Path("escape.txt").write_bytes(b"a.jpg 0\r\n../../secret.jpg 1\r\n")
