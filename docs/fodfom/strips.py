"""Pictures of the page from what `knownset synth all` and `synth samples` leave: python strips.py FAKES SAMPLES (Pillow).

A strip for some classes: an image, its fake outliers step by step, its background. A sheet: the first samples of each class.
"""

import base64
import html
import io
import json
import pathlib
import re
import sys

from PIL import Image

FAKES = pathlib.Path(sys.argv[1])
HERE = pathlib.Path(__file__).parent
SIDE, GAP = 64, 4


def originals():
    """The images of the contact sheet's page that fakes come from, by their captions."""
    page = (FAKES / "outliers/contact.html").read_text()
    figures = re.findall(r'alt="([^"]*)" src="data:image/png;base64,([^"]+)"><figcaption>from<', page)
    return {html.unescape(caption): Image.open(io.BytesIO(base64.b64decode(html.unescape(data)))) for caption, data in figures}


def entries(kind):
    lines = (FAKES / kind / "manifest.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["path"]]


found, drawn, blurred = originals(), entries("outliers"), {entry["id"]: entry for entry in entries("backgrounds")}
ids = {}
for entry in drawn:
    ids.setdefault(entry["caption"], set()).add(entry["id"])
for name in dict.fromkeys(entry["class"] for entry in drawn):
    # The first of the class whose original is on the sheet, told by a caption of its own, and whose object was found.
    own = (entry for entry in drawn if entry["class"] == name and len(ids[entry["caption"]]) == 1)
    first = next((entry for entry in own if entry["caption"] in found and entry["id"] in blurred), None)
    if first is None:
        continue
    steps = [entry for entry in drawn if entry["id"] == first["id"]]
    pictures = [found[steps[0]["caption"]]]
    pictures += [Image.open(FAKES / "outliers" / step["path"]) for step in steps]
    pictures += [Image.open(FAKES / "backgrounds" / blurred[steps[0]["id"]]["path"])]
    strip = Image.new("RGB", (len(pictures) * (SIDE + GAP) - GAP, SIDE), "white")
    for place, picture in enumerate(pictures):
        strip.paste(picture.convert("RGB").resize((SIDE, SIDE)), (place * (SIDE + GAP), 0))
    file = HERE / f"{name}.png"
    strip.save(file, optimize=True)
    print(f"| {name.replace('-', ' ')} | {steps[0]['caption']} | ![{name}](fodfom/{file.name}) |")

SAMPLES, EACH = pathlib.Path(sys.argv[2]), 8
classes = sorted(folder for folder in SAMPLES.iterdir() if folder.is_dir())
sheet = Image.new("RGB", (EACH * (SIDE + GAP) - GAP, len(classes) * (SIDE + GAP) - GAP), "white")
for row, folder in enumerate(classes):
    for column, path in enumerate(sorted(folder.iterdir())[:EACH]):
        sheet.paste(Image.open(path).convert("RGB"), (column * (SIDE + GAP), row * (SIDE + GAP)))
sheet.save(HERE / "samples.png", optimize=True)
print(", ".join(folder.name for folder in classes))
