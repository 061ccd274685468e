//! What a person would say of an image, in one sentence and in single words.

use super::dice::Dice;
use super::scene::{Object, Scene};

/// A sentence on an image with an object, in one of several forms.
pub(super) fn with_object(scene: &Scene, object: &Object, background: &str, dice: &mut Dice) -> String {
    let colour = object.colour.as_deref().filter(|_| !says_a_colour(&object.name));
    let size = (object.size != "medium").then_some(object.size.as_str());
    let words = |parts: &[Option<&str>]| parts.iter().flatten().copied().collect::<Vec<_>>().join(" ");
    let name = Some(object.name.as_str());
    let place = match object.place.as_str() {
        "top" | "bottom" => format!("at the {}", object.place),
        "left" | "right" => format!("on the {}", object.place),
        _ => format!("in the {}", object.place),
    };
    let style = match object.style.as_str() {
        "noto" => "shaded",
        "twemoji" => "flat",
        _ => "rounded",
    };
    let behind = with_article(background);
    let full = with_article(&words(&[size, colour, name]));
    let kind = with_article(&class_noun(&scene.class));
    let mut caption = match dice.below(6) {
        0 | 1 => format!("{full} {place} on {behind}"),
        2 => format!("{} {place}, against {behind}", with_article(&words(&[colour, name]))),
        3 => format!("a {style} drawing of {} on {behind}", with_article(&words(&[colour, name]))),
        4 => format!("{full} {place}"),
        _ => format!("a picture of {kind}: {} {place}", with_article(&words(&[colour, name]))),
    };
    if object.hidden > 0.08 {
        let shape = scene.clutter.last().map_or("shape", String::as_str);
        caption = format!("{caption}, partly behind {}", with_article(shape));
    } else if !scene.clutter.is_empty() && dice.chance(0.5) {
        caption = format!("{caption}, near {}", list(&scene.clutter));
    }
    caption
}

/// A sentence on a texture or on noise.
pub(super) fn without_object(scene: &Scene, dice: &mut Dice) -> String {
    let class = scene.class.as_str();
    match scene.background_colours.as_slice() {
        [a, b] => match dice.below(3) {
            0 => format!("a pattern of {a} and {b} {class}"),
            1 => format!("{a} and {b} {class}"),
            _ => format!("a {class} texture in {a} and {b}"),
        },
        _ => match dice.below(2) {
            0 => format!("{class} noise"),
            _ => format!("random {class} noise, nothing to see"),
        },
    }
}

/// Single words and names that apply, each once.
pub(super) fn tags(scene: &Scene, keywords: &[String]) -> Vec<String> {
    let mut tags: Vec<String> = Vec::new();
    let mut add = |tag: &str| {
        if !tag.is_empty() && !tags.iter().any(|t| t == tag) {
            tags.push(tag.to_owned());
        }
    };
    if let Some(object) = &scene.object {
        add(&object.group);
        add(&class_noun(&scene.class));
        add(&object.name);
        for word in keywords {
            add(word);
        }
        add(object.colour.as_deref().unwrap_or_default());
        add(&object.size);
    } else {
        add(&scene.split);
    }
    add(&scene.background);
    for shape in &scene.clutter {
        add(shape);
    }
    tags
}

/// The words for a class: "sea-animal" is "sea animal", "hoofed" is "hoofed animal".
pub(super) fn class_noun(class: &str) -> String {
    match class {
        "hoofed" => "hoofed animal".to_owned(),
        other => other.replace('-', " "),
    }
}

fn says_a_colour(name: &str) -> bool {
    const COLOURS: [&str; 11] =
        ["red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "grey", "white", "black"];
    name.split(' ').any(|word| COLOURS.contains(&word) || word == "tangerine")
}

/// "a cat", "an owl", "an hourglass", "a unicorn", "grapes", "money".
pub(super) fn with_article(phrase: &str) -> String {
    let head = [" with ", " of "].iter().fold(phrase, |head, word| head.split(word).next().unwrap_or(head));
    if BARE.iter().any(|end| head.ends_with(end)) {
        return phrase.to_owned();
    }
    let begins = |with: &[&str]| with.iter().any(|start| phrase.starts_with(start));
    let vowel = phrase.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    let vowel = (vowel || begins(&["hour", "x-ray"])) && !begins(&["uni", "euro", "ewe", "one-"]);
    format!("{} {phrase}", if vowel { "an" } else { "a" })
}

/// Ends of plurals and of things that are not counted, which take no article.
const BARE: &[&str] = &[
    "admission tickets",
    "arrows",
    "beans",
    "blueberries",
    "bookmark tabs",
    "books",
    "briefs",
    "bubbles",
    "cherries",
    "control knobs",
    "dividers",
    "eyes",
    "french fries",
    "furniture",
    "glasses",
    "gloves",
    "goggles",
    "grapes",
    "houses",
    "jeans",
    "lungs",
    "maracas",
    "money",
    "mugs",
    "pancakes",
    "peanuts",
    "prints",
    "scissors",
    "shoes",
    "shopping bags",
    "shorts",
    "socks",
];

/// "a disc", "a disc and a bar", "a disc, a bar and a ring".
fn list(shapes: &[String]) -> String {
    let named: Vec<String> = shapes.iter().map(|shape| with_article(shape)).collect();
    match named.as_slice() {
        [init @ .., last] if !init.is_empty() => format!("{} and {last}", init.join(", ")),
        _ => named.concat(),
    }
}
