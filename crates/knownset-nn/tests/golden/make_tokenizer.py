"""Makes tokenizer/: a small CLIP vocabulary, and what the reference tokenizers say about awkward text.

    python make_tokenizer.py bpe_simple_vocab_16e6.txt.gz

Versions: transformers 5.23.0, tokenizers 0.23.3, open_clip_torch 3.3.0, ftfy 6.3.1.
"""

import gzip
import json
import sys
from pathlib import Path

import open_clip
from tokenizers import AddedToken, Tokenizer, models, trainers
from transformers import CLIPTokenizer

HERE = Path(__file__).parent / "tokenizer"
HERE.mkdir(exist_ok=True)
LENGTH = 77

TEXTS = [
    "",
    " ",
    " \t\n\r ",
    "a photo of a cat.",
    "A Photo OF a   CAT",
    "it's they're we've I'm you'll he'd don't IT'S",
    "'s",
    "rock'n'roll 'twas o'clock",
    "1234567890 3.14 2nd 10,000",
    "x86_64 snake_case kebab-case a.b.c",
    "hello!!! ... ?!?! -- ---",
    "naïve café ÀÉÎÕÜ ñ Ł ß ẞ",
    "e\u0301 a\u0308\u0323 combining",
    "İstanbul ıspanak",
    "日本語のテキスト 中文字符 한국어",
    "\U0001f600\U0001f680 rocket \u2764\ufe0f",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 family",
    "שלום עולם مرحبا بالعالم",
    "नमस्ते दुनिया สวัสดี",
    "Привет МИР",
    "²³¹ ½ ⅷ ١٢٣ 一二",
    "<|EndOfText|> <|STARTOFTEXT|>",
    "<|endoftext",
    "</w> a</w>",
    "C:\\path\\to\\file https://example.org/?q=a&b=c#d",
    "\U0001d4d0\U0001d4d1 \U00010400",
    "\ud7ff\ue000\ufffd\U0010ffff",
    "a" * 300,
    "supercalifragilisticexpialidocious" * 5,
    "dog " * 75,
    "dog " * 76,
    "word " * 200,
    "!" * 200,
    "\u00e9" * 100,
    "\U0001f600" * 60,
    "zero\u200bwidth\u200cjoiner\u200dhere",
    "a\u00a0b\u2003c\u3000d",
]

# Text that OpenCLIP reads otherwise: repaired by ftfy and unescaped first, a final sigma, special tokens of other names.
DIFFERENT = [
    "ΣΊΣΥΦΟΣ",
    "<|startoftext|>",
    "a <|endoftext|> b",
    "byte order mark\ufeff",
    "line\u2028separator\u0085next line",
    "salt &amp; pepper &lt;b&gt;",
    "&amp;amp; &eacute;",
    "schÃ¶n cafÃ©",
    "\u201ccurly\u201d \u2018quotes\u2019 it\u2019s",
    "\uff26\uff55\uff4c\uff4c width",
    "of\ufb01ce \ufb02ag",
    "bell\x07 null\x00 escape\x1b[31mred",
]


def merges_of_openai(path):
    with gzip.open(path, "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    return [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]


def vocabulary(merges):
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(256 - len(printable))]
    tokens = letters + [letter + "</w>" for letter in letters]
    tokens += ["".join(merge) for merge in merges] + ["<|startoftext|>", "<|endoftext|>"]
    assert len(tokens) == len(set(tokens))
    return {token: number for number, token in enumerate(tokens)}


def hugging_face(merges):
    return CLIPTokenizer(vocab=vocabulary(merges), merges=list(merges), model_max_length=LENGTH)


def encode(tokenizer, text):
    """Without padding."""
    return tokenizer(text, truncation=True, max_length=LENGTH)["input_ids"]


def encode_open_clip(tokenizer, text):
    ids = tokenizer(text)[0].tolist()
    return ids[: max(i for i, number in enumerate(ids) if number) + 1]


def small_merges():
    """300 merges learnt from the corpus itself, in a fixed order."""
    base = [token for token in vocabulary([]) if not token.startswith("<|")]
    template = hugging_face([]).backend_tokenizer
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = template.normalizer, template.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=len(base) + 300, end_of_word_suffix="</w>", show_progress=False,
        special_tokens=[AddedToken(token) for token in base],
    )
    captions = [f"a {a} photo of the {b}." for a in ADJECTIVES for b in NOUNS] + TEXTS[:22]
    tokenizer.train_from_iterator(captions, trainer)
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


ADJECTIVES = "small large red green blue striped dotted shiny wooden friendly old young".split()
NOUNS = "cat dog house mountain river bicycle guitar elephant strawberry lighthouse airplane teapot".split()


small = small_merges()
folder = HERE / "small"
folder.mkdir(exist_ok=True)
(folder / "vocab.json").write_text(json.dumps(vocabulary(small), ensure_ascii=False) + "\n")
(folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in small))
hf_small = hugging_face(small)
hf_small.backend_tokenizer.save(str(HERE / "small-tokenizer.json"), pretty=False)

openai = merges_of_openai(sys.argv[1])
hf_openai = hugging_face(openai)
open_clip_tokenizer = open_clip.SimpleTokenizer(bpe_path=sys.argv[1], context_length=LENGTH)

rows = []
for text in TEXTS + DIFFERENT:
    row = {"text": text, "small": encode(hf_small, text), "openai": encode(hf_openai, text)}
    row["open_clip_differs"] = encode_open_clip(open_clip_tokenizer, text) != row["openai"]
    assert row["open_clip_differs"] == (text in DIFFERENT), text
    rows.append(row)
lines = ",\n".join(json.dumps(row) for row in rows)
(HERE / "texts.json").write_text(f"[\n{lines}\n]\n")
