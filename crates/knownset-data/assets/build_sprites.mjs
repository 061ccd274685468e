// Makes the art of Sprite World from four npm packages (versions pinned below): sprites.zip and sprites.json, the emoji of
// the splits that methods are tried on, and open.zip and open.json, those of open_emoji.mjs, which only `captions` shows.
//
//   mkdir /tmp/sprites && cd /tmp/sprites
//   npm install emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 \
//       @iconify-json/fluent-emoji-flat@1.2.6 emojibase-data@17.0.0 sharp@0.34.5 fflate@0.8.2
//   NODE_PATH=/tmp/sprites/node_modules node build_sprites.mjs
//
// Every sprite is 64x64 RGBA, its drawing cropped to the opaque part and centred, quantised to a palette.
// The same packages give the same bytes. Changing anything here changes every image: bump WORLD_VERSION.

import { createRequire } from "node:module";
import fs from "node:fs";
import path from "node:path";

import { open, twice } from "./open_emoji.mjs";

const require = createRequire(path.join(process.env.NODE_PATH ?? "", "x.js"));
const sharp = require("sharp");
const { zipSync } = require("fflate");

const pins = {
  "emoji-datasource-google": "16.0.0",
  "emoji-datasource-twitter": "16.0.0",
  "@iconify-json/fluent-emoji-flat": "1.2.6",
  "emojibase-data": "17.0.0",
};
const root = (name) => path.join(process.env.NODE_PATH, name);
for (const [name, version] of Object.entries(pins)) {
  const found = JSON.parse(fs.readFileSync(path.join(root(name), "package.json"))).version;
  if (found !== version) throw new Error(`${name}: version ${found}, this script is for ${version}`);
}

// Short names of emoji-datasource. A word after "|" is held out: never seen in training, only in val and test. The held
// out are kin to something seen (a goose to a swan), as the photographs of one class are kin.
const known = {
  bird: `chicken rooster hatching_chick baby_chick bird penguin dove_of_peace duck owl flamingo peacock turkey dodo
    eagle swan parrot | hatched_chick goose black_bird`,
  building: `house house_buildings derelict_house_building office post_office hospital hotel school factory
    european_castle church mosque classical_building convenience_store hindu_temple hut synagogue japanese_castle
    | house_with_garden european_post_office bank love_hotel department_store wedding`,
  cat: `cat cat2 black_cat lion_face tiger leopard smiley_cat joy_cat heart_eyes_cat kissing_cat pouting_cat scream_cat
    | tiger2 smile_cat smirk_cat crying_cat_face`,
  clock: `alarm_clock timer_clock mantelpiece_clock watch clock12 clock130 clock3 clock5 clock730 clock10
    | stopwatch clock430 clock9`,
  drink: `glass_of_milk coffee teapot sake champagne wine_glass tropical_drink beer tumbler_glass cup_with_straw
    beverage_box bubble_tea mate_drink | tea cocktail beers clinking_glasses`,
  flower: `bouquet lotus rose wilted_flower sunflower blossom hyacinth rosette | hibiscus cherry_blossom tulip`,
  fruit: `grapes melon watermelon tangerine lime banana pineapple apple pear cherries strawberry kiwifruit mango
    blueberries | lemon green_apple peach`,
  "sea-animal": `whale seal tropical_fish blowfish shark octopus squid crab shrimp lobster jellyfish
    | whale2 fish dolphin`,
  shoe: `athletic_shoe hiking_boot womans_flat_shoe sandal thong_sandal ballet_shoes boot ice_skate roller_skate
    | mans_shoe high_heel`,
  vehicle: `bus oncoming_bus minibus ambulance police_car taxi oncoming_taxi car oncoming_automobile pickup_truck truck
    tractor racing_car auto_rickshaw | trolleybus fire_engine oncoming_police_car blue_car articulated_lorry`,
};

// Classes of the same groups that no training image shows.
const near = {
  aircraft: "airplane small_airplane helicopter rocket flying_saucer airplane_departure",
  boat: "boat canoe speedboat passenger_ship ferry motor_boat ship",
  bug: "bug ant bee ladybug beetle spider scorpion butterfly cockroach cricket mosquito fly",
  clothing: "shirt necktie jeans coat dress gloves scarf kimono tophat billed_cap",
  dish: "hamburger pizza hotdog taco burrito sushi fried_egg curry ramen spaghetti bento sandwich",
  dog: "dog dog2 guide_dog service_dog poodle wolf fox_face raccoon",
  hoofed: "horse racehorse donkey zebra_face deer cow cow2 pig pig2 ram goat camel llama giraffe_face",
  rodent: "mouse mouse2 rat hamster rabbit rabbit2 chipmunk hedgehog",
  tree: "evergreen_tree deciduous_tree palm_tree cactus potted_plant seedling maple_leaf mushroom",
  vegetable: "avocado eggplant potato carrot corn hot_pepper bell_pepper cucumber broccoli leafy_green onion garlic",
};

const far = {
  flags: {
    flag: `flag-ar flag-at flag-au flag-br flag-ca flag-ch cn de flag-eg es fr gb flag-gr flag-in it jp flag-ke kr
      flag-mx flag-ng flag-no flag-nz flag-pt flag-se flag-th flag-tr flag-ua us flag-vn flag-za`,
  },
  symbols: {
    symbol: `arrow_upper_right arrow_right leftwards_arrow_with_hook arrows_clockwise aries leo scorpius aquarius
      yin_yang peace_symbol latin_cross star_of_david radioactive_sign biohazard_sign no_entry warning recycle
      heavy_plus_sign heavy_multiplication_x infinity question exclamation heavy_check_mark ok sos parking
      three seven hash trident`,
  },
  faces: {
    face: `grinning joy wink innocent heart_eyes star-struck yum zany_face thinking_face zipper_mouth_face neutral_face
      smirk sleeping mask nauseated_face cold_face exploding_head face_with_cowboy_hat sunglasses nerd_face open_mouth
      flushed sob scream rage smiling_imp skull clown_face ghost robot_face`,
  },
};

const groups = {
  animal: "bird bug cat dog hoofed rodent sea-animal",
  food: "dish drink fruit vegetable",
  object: "clock clothing shoe",
  plant: "flower tree",
  transport: "aircraft boat vehicle",
  place: "building",
  sign: "flag symbol",
  face: "face",
};
const groupOf = Object.fromEntries(
  Object.entries(groups).flatMap(([group, classes]) => classes.split(" ").map((name) => [name, group])),
);

const wanted = [];
const words = (text) => text.split(/\s+/).filter(Boolean);
const want = (cls, list, part) => {
  for (const name of words(list)) wanted.push({ name, cls, group: groupOf[cls], part, makers: ["noto", "twemoji", "fluent"] });
};
for (const [cls, list] of Object.entries(known)) {
  const [seen, held] = list.split("|");
  want(cls, seen, "train");
  want(cls, held, "held-out");
}
for (const [cls, list] of Object.entries(near)) want(cls, list, "near");
for (const [part, classes] of Object.entries(far)) for (const [cls, list] of Object.entries(classes)) want(cls, list, part);

const openWanted = [];
for (const [group, classes] of Object.entries(open))
  for (const [cls, list] of Object.entries(classes))
    for (const [i, word] of words(list).entries()) {
      const [name, caption] = word.split("=");
      const makers = twice.includes(group) ? ["noto", "twemoji"] : [["noto"], ["twemoji"]][i % 2];
      openWanted.push({ name, cls, group, part: "open", makers, caption: caption?.replaceAll("_", " ") });
    }

const plain = (code) => code.toLowerCase().replaceAll("-fe0f", "");
const emoji = new Map(
  JSON.parse(fs.readFileSync(path.join(root("emoji-datasource-google"), "emoji.json"))).map((e) => [e.short_name, e]),
);
const labels = new Map(
  JSON.parse(fs.readFileSync(path.join(root("emojibase-data"), "en/data.json"))).map((e) => [plain(e.hexcode), e]),
);
const fluentDir = root("@iconify-json/fluent-emoji-flat");
const fluentIcons = JSON.parse(fs.readFileSync(path.join(fluentDir, "icons.json")));
const fluentNames = new Map(
  Object.entries(JSON.parse(fs.readFileSync(path.join(fluentDir, "chars.json")))).map(([code, name]) => [plain(code), name]),
);

function fluentSvg(code) {
  let name = fluentNames.get(code);
  if (name && !fluentIcons.icons[name]) name = fluentIcons.aliases?.[name]?.parent;
  const icon = name && fluentIcons.icons[name];
  if (!icon) return null;
  const [w, h] = [icon.width ?? fluentIcons.width ?? 32, icon.height ?? fluentIcons.height ?? 32];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 ${w} ${h}" width="${w * 8}" height="${h * 8}">`;
  return Buffer.from(`${svg}${icon.body}</svg>`);
}

function drawings(entry, code) {
  const file = (maker) => path.join(root(`emoji-datasource-${maker}`), "img", maker, "64", entry.image);
  return {
    noto: entry.has_img_google ? fs.readFileSync(file("google")) : null,
    twemoji: entry.has_img_twitter ? fs.readFileSync(file("twitter")) : null,
    fluent: fluentSvg(code),
  };
}

async function sprite(drawing) {
  const cropped = await sharp(drawing).ensureAlpha().trim({ background: "#00000000", threshold: 0 }).png().toBuffer();
  return sharp(cropped)
    .resize(64, 64, { fit: "contain", background: "#00000000", kernel: "lanczos3" })
    .png({ palette: true, colours: 96, quality: 95, dither: 0.5, effort: 10, compressionLevel: 9 })
    .toBuffer();
}

// Unicode names some drawings after what they stand for; captions need the thing that is drawn.
const renamed = { wedding: "wedding chapel", cooking: "fried egg in a pan", mate: "mate gourd" };
function drawn(label, cls) {
  const name = label.replace(/^flag: /, "flag of ").replaceAll("’", "'");
  if (cls === "clock" && !/(clock|watch)$/.test(name.replace(/o'clock$/, ""))) return `clock at ${name}`;
  return renamed[name] ?? name;
}

// An emoji's name for captions: plain ASCII, no capitals but in names of countries.
function spoken(label) {
  const name = label.normalize("NFD").replace(/[\u0300-\u036f]/g, "").replaceAll("&", "and").replaceAll("’", "'");
  return name.startsWith("flag: ") ? name.replace("flag: ", "flag of ").replace(/ \(.*\)| SAR China/, "") : name.toLowerCase();
}

// Draws the emoji into a pack and returns its index.
async function pack(file, wanted) {
  const files = {};
  const index = [];
  for (const { name, cls, group, part, makers, caption } of wanted) {
    const entry = emoji.get(name);
    if (!entry) throw new Error(`no emoji named ${name}`);
    const code = plain(entry.unified);
    const label = labels.get(code);
    if (!label) throw new Error(`${name} (${code}): no name in emojibase-data`);
    const styles = [];
    for (const [style, drawing] of Object.entries(drawings(entry, code))) {
      if (!drawing || !makers.includes(style)) continue;
      files[`${style}/${code}.png`] = new Uint8Array(await sprite(drawing));
      styles.push(style);
    }
    const keywords = (label.tags ?? []).filter((word) => /^[\x20-\x7e]+$/.test(word)).slice(0, 8);
    const said = part === "open" ? (caption ?? spoken(label.label)) : drawn(label.label, cls);
    index.push({ code, name: said, class: cls, group, part, styles, keywords });
  }
  const zip = zipSync(Object.fromEntries(Object.keys(files).sort().map((k) => [k, files[k]])), {
    level: 0,
    mtime: new Date(1980, 0, 1),
  });
  const here = path.dirname(new URL(import.meta.url).pathname);
  fs.writeFileSync(path.join(here, `${file}.zip`), zip);
  fs.writeFileSync(path.join(here, `${file}.json`), `[\n${index.map((e) => JSON.stringify(e)).join(",\n")}\n]\n`);
  console.log(`${file}: ${index.length} emoji, ${Object.keys(files).length} sprites, ${zip.length} bytes`);
  return index;
}

const index = await pack("sprites", wanted);
const opened = await pack("open", openWanted);
const codes = [...index, ...opened].map((e) => e.code);
if (new Set(codes).size !== codes.length)
  throw new Error(`listed twice: ${codes.filter((code, i) => codes.indexOf(code) !== i).join(", ")}`);
for (const part of ["train", "held-out"])
  console.log(part, Object.keys(known).map((c) => `${c} ${index.filter((e) => e.class === c && e.part === part).length}`).join(", "));
for (const e of index) if (e.styles.length < 3 && e.part !== "flags") console.log("styles", e.name, e.styles.join());
