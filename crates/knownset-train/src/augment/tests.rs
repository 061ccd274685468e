use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::RngExt;

use super::*;

#[test]
fn streams_differ_by_image_and_epoch() {
    let draw = |epoch, image| stream(1, epoch, image).random::<u64>();
    assert_eq!(draw(2, 3), draw(2, 3));
    assert!(draw(2, 3) != draw(2, 4) && draw(2, 3) != draw(3, 3));
}

#[test]
fn the_table_is_sound() {
    let names: BTreeSet<_> = CHANGES.iter().map(|entry| entry.name).collect();
    assert_eq!(names.len(), CHANGES.len());
    for entry in CHANGES {
        assert!(entry.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", entry.name);
        assert!(entry.paper.starts_with("https://") && !entry.doc.is_empty(), "{}", entry.name);
        let change: Change = entry.name.parse().unwrap();
        assert_eq!(change.entry().name, entry.name);
        let documented: BTreeSet<&str> = entry.params.iter().map(|(name, _)| *name).collect();
        let defaults: BTreeSet<&str> = change.params().as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(defaults, documented, "{}", entry.name);
    }
}

#[test]
fn texts_are_read_shown_and_read_again() {
    let all = CHANGES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(",");
    let augment: Augment = all.parse().unwrap();
    assert_eq!(
        augment.to_string(),
        "crop,flip,resized-crop:scale=0.08,resample:side=32,\
         colour-jitter:brightness=0.4:contrast=0.4:saturation=0.4:hue=0.1:p=0.8,grey:p=0.2,cutout:holes=1:size=16,\
         rand-augment:n=1:m=14,aug-mix:width=3:depth=0:severity=3.0:alpha=1.0:all=false,\
         pix-mix:k=4:beta=3.0:severity=3.0:all=false"
    );
    let json = serde_json::to_string(&augment).unwrap();
    assert_eq!(serde_json::from_str::<Augment>(&json).unwrap(), augment);
    assert_eq!(" crop:pad=4 , flip".parse::<Augment>().unwrap(), Augment::crop_and_flip(4));
    assert_eq!(Augment::crop(4).to_string(), "crop:pad=4");
    assert_eq!(Augment::crop(9999).to_string().parse::<Augment>().unwrap(), Augment::crop(9999));
    assert_eq!(Augment::crop(4).then(&"flip".parse().unwrap()), Augment::crop_and_flip(4));
    assert_eq!("none".parse::<Augment>().unwrap(), Augment::default());
    assert_eq!(Augment::default().to_string(), "none");
    assert_ne!(Augment::crop(4), Augment::crop(3));
}

#[test]
fn wrong_texts_are_refused_with_what_is_wrong() {
    for (text, expected) in [
        ("rand-augmnt", "there is no augmentation `rand-augmnt`; the nearest is `rand-augment`"),
        ("", "there is no augmentation ``; the nearest is `crop`"),
        ("crop:4", "augmentation `crop:4`: `4` in `crop:4` is not of the form key=value"),
        ("flip,crop:pad=2000", "augmentation `crop:pad=2000`: `pad` must be at most 1024, but is 2000"),
        (
            "resized-crop:scale=0",
            "augmentation `resized-crop:scale=0`: `scale` must be above 0 and at most 1, but is 0",
        ),
        ("grey:p=1.5", "augmentation `grey:p=1.5`: `p` must be from 0 to 1, but is 1.5"),
        ("colour-jitter:hue=0.6", "augmentation `colour-jitter:hue=0.6`: `hue` must be from 0 to 0.5, but is 0.6"),
        ("rand-augment:m=31", "augmentation `rand-augment:m=31`: `m` must be from 0 to 30, but is 31"),
    ] {
        assert_eq!(text.parse::<Augment>().unwrap_err().to_string(), expected);
    }
    for text in [
        "crop:pad=-1",
        "crop:paad=1",
        "flip:p=1",
        "cutout:holes=0",
        "cutout:size=0",
        "colour-jitter:brightness=-0.1",
        "colour-jitter:p=2",
        "rand-augment:n=0",
        "aug-mix:width=0",
        "aug-mix:depth=17",
        "aug-mix:severity=11",
        "aug-mix:alpha=0",
        "pix-mix:k=33",
        "pix-mix:beta=0",
        "pix-mix:severity=0",
        "none,flip",
    ] {
        assert!(text.parse::<Augment>().is_err(), "{text}");
    }
    assert!(serde_json::from_str::<Augment>("\"crop:pad=x\"").is_err());
}

#[test]
#[should_panic(expected = "the picture is [3, side, side]")]
fn a_picture_of_another_shape_is_refused() {
    Augment::crop(1).apply(vec![0.0; 12], 3, &mut stream(0, 0, 0));
}

/// Every change, mild and extreme.
fn any_change() -> impl Strategy<Value = Augment> {
    let extreme = [
        "crop:pad=40",
        "resized-crop:scale=0.001",
        "colour-jitter:brightness=10:contrast=10:saturation=10:hue=0.5:p=1",
        "grey:p=1",
        "cutout:holes=5:size=3",
        "rand-augment:n=16:m=30",
        "aug-mix:width=5:depth=4:severity=10:alpha=0.01:all=true",
        "pix-mix:k=32:beta=0.1:severity=10:all=true",
        "pix-mix:beta=100",
    ];
    let texts: Vec<&str> = CHANGES.iter().map(|entry| entry.name).chain(extreme).collect();
    prop::sample::select(texts).prop_map(|text| text.parse().unwrap())
}

/// Pictures of sides 1 to 20: noise, with many values at the ends.
fn any_picture() -> impl Strategy<Value = (usize, Vec<f32>)> {
    let value = prop_oneof![4 => 0.0_f32..=1.0, 1 => Just(0.0), 1 => Just(1.0)];
    (1_usize..=20).prop_flat_map(move |side| (Just(side), prop::collection::vec(value.clone(), 3 * side * side)))
}

proptest! {
    #[test]
    fn pictures_stay_pictures_and_the_stream_decides(
        augment in any_change(), (side, picture) in any_picture(), seed in any::<u64>(), image in 0_usize..1000,
    ) {
        let changed = augment.apply(picture.clone(), side, &mut stream(seed, 0, image));
        prop_assert_eq!(changed.len(), picture.len());
        prop_assert!(changed.iter().all(|value| (0.0..=1.0).contains(value)), "{augment}: {changed:?}");
        prop_assert_eq!(augment.apply(picture, side, &mut stream(seed, 0, image)), changed);
    }
}
