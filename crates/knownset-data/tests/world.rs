//! What Sprite World promises.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use knownset_data::DatasetRef;
use knownset_data::world::{CLASSES, SIDE, SPLITS, Scene, SplitInfo, SplitKind, World, WorldError, WorldSplit};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

fn open(split: &str) -> WorldSplit {
    World::open("sprites", split).expect("a listed split opens")
}

/// Scenes that show every sprite of every class once: sprites take turns, so a class's round ends when its first returns.
fn a_round(split: &WorldSplit) -> Vec<Scene> {
    let drawing = |scene: &Scene| scene.object.as_ref().map(|object| (object.codepoint.clone(), object.style.clone()));
    let mut round: Vec<Scene> = Vec::new();
    for class in 0..split.info().classes.len() {
        let start = round.len();
        for i in split.images_of(class) {
            let scene = split.scene(i);
            if round.get(start).is_some_and(|first| drawing(first) == drawing(&scene)) {
                break;
            }
            round.push(scene);
        }
    }
    round
}

/// The emoji a split shows.
fn emoji(split: &str) -> BTreeSet<String> {
    a_round(&open(split)).into_iter().filter_map(|scene| scene.object).map(|object| object.codepoint).collect()
}

/// The splits that nothing may be learnt from.
fn tested() -> impl Iterator<Item = &'static SplitInfo> {
    SPLITS.iter().filter(|info| !["train", "captions", "synthetic", "outliers"].contains(&info.name))
}

#[test]
fn an_image_is_the_same_on_every_thread_and_in_any_order() {
    let split = open("train");
    let forward: Vec<_> = (0..24).map(|i| split.draw(i * 160)).collect();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let split = open("train");
                for i in (0..24).rev() {
                    assert_eq!(split.image(i * 160), forward[i].1);
                    assert_eq!(split.scene(i * 160), forward[i].0);
                }
            });
        }
    });
}

/// A change of any image or caption is a new version of the world: bump `WORLD_VERSION`, then write the file again with
/// `KNOWNSET_BLESS=1 cargo test -p knownset-data --test world`.
#[test]
fn images_and_scenes_are_those_of_this_version() {
    let mut digests = BTreeMap::new();
    for info in SPLITS {
        let split = open(info.name);
        let mut digest = Sha256::new();
        for k in 0..20 {
            let (scene, image) = split.draw(k * (split.len() / 20) + k);
            digest.update(image.as_raw());
            digest.update(serde_json::to_vec(&scene).expect("a scene is JSON"));
        }
        let mut hex = String::new();
        for byte in digest.finalize() {
            write!(hex, "{byte:02x}").expect("a string takes any text");
        }
        digests.insert(info.name, hex);
    }
    let found = serde_json::to_string_pretty(&digests).expect("a map is JSON") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/world.json");
    if std::env::var_os("KNOWNSET_BLESS").is_some() {
        fs_err::write(path, &found).expect("the golden file can be written");
    }
    assert_eq!(found, fs_err::read_to_string(path).expect("the golden file exists"));
}

#[test]
fn no_emoji_is_both_trained_on_and_tested_on() {
    let (train, val, test) = (emoji("train"), emoji("val"), emoji("test"));
    assert!(train.is_disjoint(&test));
    assert!(train.is_disjoint(&val));
    assert_eq!(val, test, "val and test are exchangeable: the same emoji, other images");
    assert_ne!(open("val").image(0), open("test").image(0));
}

#[test]
fn no_unknown_emoji_is_of_a_known_class() {
    let known = &emoji("train") | &emoji("test");
    let known_classes: BTreeSet<&str> = CLASSES.iter().copied().collect();
    for info in SPLITS.iter().filter(|info| info.kind.is_unknown()) {
        assert!(emoji(info.name).is_disjoint(&known), "{} shares an emoji with a known class", info.name);
        assert!(info.classes.iter().all(|class| !known_classes.contains(class)), "{}", info.name);
        assert!((0..info.images).step_by(50).all(|i| open(info.name).label(i) == -1));
    }
}

#[test]
fn clutter_is_geometry_only() {
    let shapes = ["disc", "square", "triangle", "ring", "bar"];
    for split in ["train", "near", "flags"].map(open) {
        let clutter = (0..split.len()).step_by(7).flat_map(|i| split.scene(i).clutter);
        assert!(clutter.into_iter().all(|name| shapes.contains(&name.as_str())));
    }
}

#[test]
fn backgrounds_are_shared_by_the_known_and_the_unknown() {
    let kinds = |split: &str| -> BTreeSet<String> {
        let split = open(split);
        (0..split.len()).step_by(5).map(|i| split.scene(i).background).collect()
    };
    let train = kinds("train");
    for split in ["test", "near", "flags", "symbols", "faces"] {
        assert_eq!(kinds(split), train, "{split}");
    }
}

#[test]
fn classes_are_balanced_and_ids_sorted() {
    for info in SPLITS {
        let split = open(info.name);
        assert_eq!(split.len(), info.images);
        let mut counts = BTreeMap::new();
        let mut last = String::new();
        for i in 0..split.len() {
            let id = split.id(i);
            assert!(last < id, "{last} comes before {id}");
            let class = id.split('/').nth(1).expect("split/class/number").to_owned();
            let label = CLASSES.iter().position(|known| *known == class && info.kind == SplitKind::Known);
            assert_eq!(split.label(i), label.map_or(-1, |place| place as i64), "{id}");
            *counts.entry(class).or_insert(0) += 1;
            last = id;
        }
        assert_eq!(counts.len(), info.classes.len());
        let even = counts.values().all(|&n| n * info.classes.len() == info.images);
        assert!(even || [SplitKind::Open, SplitKind::Outliers].contains(&info.kind), "{counts:?}");
    }
}

/// That a box holds its object is tested beside `Figure::bbox`, which sees the object alone.
#[test]
fn boxes_are_inside_the_image_and_scenes_complete() {
    for info in SPLITS {
        let split = open(info.name);
        for i in (0..split.len()).step_by(split.len().div_ceil(1500)) {
            let scene = split.scene(i);
            assert_eq!(scene.id, split.id(i));
            assert!(!scene.caption.is_empty() && !scene.tags.is_empty() && !scene.background.is_empty());
            let tags: BTreeSet<_> = scene.tags.iter().collect();
            assert_eq!(tags.len(), scene.tags.len(), "{:?}", scene.tags);
            let Some(object) = scene.object else {
                assert!(["textures", "noise"].contains(&info.name));
                continue;
            };
            let bbox = object.bbox;
            assert!(bbox.x + bbox.width <= SIDE as u32 && bbox.y + bbox.height <= SIDE as u32, "{}", scene.id);
            assert!(bbox.width.max(bbox.height) >= 20 && bbox.width.min(bbox.height) >= 4, "{}: {bbox:?}", scene.id);
            assert!((0.0..0.6).contains(&object.hidden), "{}: {}", scene.id, object.hidden);
        }
    }
}

#[test]
fn captions_vary_and_articles_agree() {
    let split = open("train");
    let captions: BTreeSet<String> = (0..1000).map(|i| split.scene(i * 4).caption).collect();
    assert!(captions.len() > 950, "{} distinct captions of 1000", captions.len());
    for caption in &captions {
        let words: Vec<&str> = caption.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let vowel = pair[1].starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']);
            let wrong = if vowel { "a" } else { "an" };
            assert_ne!(pair[0], wrong, "{caption}");
        }
    }
}

/// What another split shows (the drawing, not just the code point: some flags are drawn alike) is news to whoever learnt
/// words on `captions`; only the known classes' training emoji are shared.
#[test]
fn captions_show_nothing_that_is_tested() {
    let captions = emoji("captions");
    assert!(captions.is_superset(&emoji("train")));
    for split in tested() {
        assert!(captions.is_disjoint(&emoji(split.name)), "captions share an emoji with {}", split.name);
    }
    let drawings = |pack: &str| -> BTreeMap<Vec<u8>, String> {
        let path = format!("{}/assets/{pack}.zip", env!("CARGO_MANIFEST_DIR"));
        let mut archive = zip::ZipArchive::new(fs_err::File::open(path).expect("a pack")).expect("a zip");
        let files = 0..archive.len();
        let read = |i| {
            let mut file = archive.by_index(i).expect("an entry");
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut file, &mut bytes).expect("an entry can be read");
            (bytes, file.name().expect("a name").into_owned())
        };
        files.map(read).collect()
    };
    let sprites = drawings("sprites");
    let twins: Vec<_> =
        drawings("open").into_iter().filter_map(|(bytes, name)| Some((name, sprites.get(&bytes)?))).collect();
    assert!(twins.is_empty(), "drawn alike: {twins:?}");
}

#[test]
fn synthetic_images_show_what_train_shows_in_other_images() {
    let drawings = |split: &str| -> BTreeSet<(String, String)> {
        a_round(&open(split)).into_iter().filter_map(|s| s.object).map(|o| (o.codepoint, o.style)).collect()
    };
    assert_eq!(drawings("synthetic"), drawings("train"));
    let images = |split: &str| -> BTreeSet<[u8; 32]> {
        let split = open(split);
        (0..split.len()).into_par_iter().map(|i| Sha256::digest(split.image(i).as_raw()).into()).collect()
    };
    let (train, synthetic) = (images("train"), images("synthetic"));
    assert_eq!((train.len(), synthetic.len()), (4000, 10_000), "every image is another one");
    assert!(train.is_disjoint(&synthetic));
    for split in tested() {
        assert!(emoji("synthetic").is_disjoint(&emoji(split.name)), "synthetic images show an emoji of {}", split.name);
    }
}

/// The packs share no drawing either: see [`captions_show_nothing_that_is_tested`].
#[test]
fn outliers_show_nothing_that_is_known_or_tested() {
    let outliers = open("outliers");
    let shown = emoji("outliers");
    assert!(shown.len() > 500 && shown.is_subset(&emoji("captions")));
    assert!(shown.is_disjoint(&emoji("train")));
    let classes: BTreeSet<&str> = outliers.info().classes.iter().copied().collect();
    assert!(CLASSES.iter().all(|class| !classes.contains(class)));
    for split in tested() {
        assert!(shown.is_disjoint(&emoji(split.name)), "outliers share an emoji with {}", split.name);
        let shared: Vec<_> = split.classes.iter().filter(|class| classes.contains(*class)).collect();
        assert!(shared.is_empty(), "outliers share classes with {}: {shared:?}", split.name);
    }
    let groups: BTreeSet<String> =
        a_round(&outliers).into_iter().filter_map(|scene| scene.object).map(|object| object.group).collect();
    assert!(!groups.contains("sign") && !groups.contains("face"), "{groups:?}");
    assert!((0..outliers.len()).all(|i| outliers.label(i) == -1));
}

/// Every open emoji's caption: articles agree ("an hourglass", "scissors"), and letters are plain.
#[test]
fn the_words_of_the_open_emoji_are_plain_english() {
    let split = open("captions");
    let plural = |phrase: &str| {
        let head = phrase.split(" with ").next().expect("a first part").split(" of ").next().expect("a first part");
        let last = head.rsplit(' ').next().expect("a last word");
        let singular = ["rhinoceros", "hippopotamus", "glass", "hourglass", "compass", "abacus", "princess", "claus"];
        let singular = singular.contains(&last) || ["cross", "fleur-de-lis"].contains(&last);
        // "in the clouds", "holding hands", "and crossbones" do not make a plural.
        let inner = ["in", "its", "their", "the", "a", "and", "holding", "making", "under"];
        last.ends_with('s') && !singular && !head.split(' ').any(|word| inner.contains(&word))
    };
    for scene in a_round(&split) {
        let name = &scene.object.as_ref().expect("an emoji").name;
        let plain =
            |c: char| c.is_ascii_lowercase() || " -'".contains(c) || (c.is_ascii_uppercase() && scene.class == "flag");
        let known = CLASSES.contains(&scene.class.as_str());
        assert!(name.chars().all(plain) || known, "{name}");
        assert!(
            scene.caption.is_ascii() && scene.caption.starts_with(|c: char| c.is_ascii_lowercase()),
            "{}",
            scene.caption
        );
        let words: Vec<&str> = scene.caption.split([' ', ',', ':']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let consonant_sound = ["unicorn", "euro", "ewe", "one-piece"].contains(&pair[1]);
            let vowel_sound = ["hourglass", "x-ray"].contains(&pair[1])
                || (pair[1].starts_with(['a', 'e', 'i', 'o', 'u']) && !consonant_sound);
            assert_ne!(pair[0], if vowel_sound { "a" } else { "an" }, "{}", scene.caption);
        }
        if plural(name) && !known {
            for article in ["a ", "an "] {
                let colour = scene.object.as_ref().and_then(|object| object.colour.clone()).unwrap_or_default();
                for said in [format!("{article}{name}"), format!("{article}{colour} {name}")] {
                    assert!(!format!(" {}", scene.caption).contains(&format!(" {said}")), "{}", scene.caption);
                }
            }
        }
    }
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let message = World::open("sprites", "tset").expect_err("no such split").to_string();
    assert!(message.contains("\"tset\"") && message.contains("train, val, test, near"), "{message}");
    let error = World::open("imagenet", "test").expect_err("no such world");
    assert!(matches!(&error, WorldError::UnknownWorld { name, known } if name == "imagenet" && known == &["sprites"]));
}

#[test]
#[should_panic(expected = "image 1000 of split \"test\", which has 1000")]
fn an_index_beyond_the_split_panics_as_a_slice_does() {
    open("test").image(1000);
}

#[test]
fn what_is_seen_has_its_class_its_name_and_its_box() {
    let train = "world:sprites#train".parse::<DatasetRef>().expect("a reference").open().expect("a listed split opens");
    for i in (0..train.len()).step_by(397) {
        let scene = open("train").scene(i);
        let object = scene.object.expect("a known class has an object");
        let [seen] = <[_; 1]>::try_from(train.objects(i)).expect("one object");
        assert_eq!((seen.names.first(), seen.names.last()), (Some(&scene.class.replace('-', " ")), Some(&object.name)));
        let [left, top, right, bottom] = seen.corners.map(|corner| corner as u32);
        assert_eq!(
            [left, top, right - left, bottom - top],
            [object.bbox.x, object.bbox.y, object.bbox.width, object.bbox.height]
        );
        assert_eq!(seen.image, (SIDE as u32, SIDE as u32));
    }
    let textures =
        "world:sprites#textures".parse::<DatasetRef>().expect("a reference").open().expect("a listed split opens");
    assert!(textures.objects(0).is_empty());
}
