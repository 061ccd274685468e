//! Putting one image together.

use image::RgbImage;

use super::backgrounds::Background;
use super::canvas::{Canvas, SIDE, Shape, Turn};
use super::caption;
use super::colour::{self, Paint};
use super::dice::Dice;
use super::figure::Figure;
use super::scene::{Object, Scene};
use super::splits::Content;
use super::sprites::Sprite;
use super::{noise, textures};

/// Draws an image and fills in what it shows. `scene` says which image it is; `sprite` is what it shows, if anything.
pub(super) fn compose(mut scene: Scene, content: Content, sprite: Option<&Sprite>, index: usize) -> (Scene, RgbImage) {
    let dice = &mut Dice::new(&scene.split, index);
    let canvas = match (content, sprite) {
        (Content::Sprites(_), Some(sprite)) => {
            let mut canvas = with_sprite(&mut scene, sprite, dice);
            light(&mut canvas, dice);
            canvas
        }
        (Content::Textures, _) => {
            let [a, b] = colours(dice);
            scene.background_colours = [a, b].map(|paint| paint.name.to_owned()).into();
            textures::paint(&scene.class, dice, a.rgb, b.rgb)
        }
        (Content::Noise | Content::Sprites(_), _) => noise::paint(&scene.class, dice),
    };
    if scene.object.is_none() {
        scene.background.clone_from(&scene.class);
        scene.caption = caption::without_object(&scene, dice);
    }
    scene.tags = caption::tags(&scene, sprite.map_or(&[], |sprite| &sprite.emoji.keywords));
    (scene, canvas.into_image())
}

fn colours(dice: &mut Dice) -> [Paint; 2] {
    let first = colour::draw(dice);
    [first, colour::draw_beside(dice, first.rgb)]
}

fn with_sprite(scene: &mut Scene, sprite: &Sprite, dice: &mut Dice) -> Canvas {
    let background = Background::draw(dice, sprite.mean);
    let mut canvas = background.paint(dice);
    let ground = background.colours[0].rgb;

    for _ in 0..dice.pick(&[0, 0, 0, 1, 1, 2]) {
        let centre = (dice.range(0.0, SIDE as f32), dice.range(0.0, SIDE as f32));
        let radius = dice.range(3.0, 7.0);
        let shape = Shape::draw(dice, centre, radius);
        canvas.shape(&shape, colour::draw_beside(dice, ground).rgb, dice.range(0.6, 1.0));
        scene.clutter.push(shape.outline.name().to_owned());
    }

    let figure = Figure::draw(dice, sprite);
    if dice.chance(0.4) {
        figure.cast_shadow(&mut canvas, dice.pick(&[1, 2, 3]), dice.range(0.15, 0.4));
    }
    figure.paint(&mut canvas);

    let mut hidden = 0.0;
    if dice.chance(0.12) {
        let (dx, dy) = Turn::from_half_tangent(dice.range(-1.0, 1.0)).apply(0.0, figure.size * 0.42);
        let side = if dice.chance(0.5) { 1.0 } else { -1.0 };
        let centre = (figure.centre.0 + dx * side, figure.centre.1 + dy * side);
        let radius = figure.size * dice.range(0.14, 0.26);
        let shape = Shape::draw(dice, centre, radius);
        canvas.shape(&shape, colour::draw_beside(dice, sprite.mean).rgb, 1.0);
        scene.clutter.push(shape.outline.name().to_owned());
        hidden = figure.hidden_by(&shape);
    }

    let object = Object {
        name: sprite.emoji.name.clone(),
        codepoint: sprite.emoji.code.clone(),
        style: sprite.style.name().to_owned(),
        group: sprite.emoji.group.clone(),
        bbox: figure.bbox(),
        place: place(figure.centre).to_owned(),
        size: size(figure.size).to_owned(),
        colour: figure.colour().map(str::to_owned),
        hidden,
    };
    background.kind.name().clone_into(&mut scene.background);
    scene.background_colours = background.kind.colours_used(&background.colours);
    scene.caption = caption::with_object(scene, &object, &background.phrase(), dice);
    scene.object = Some(object);
    canvas
}

/// Makes the whole image a little brighter or darker, and grainy now and then.
fn light(canvas: &mut Canvas, dice: &mut Dice) {
    let (gain, lift) = (dice.range(0.85, 1.1), dice.range(-10.0, 10.0));
    let grain = if dice.chance(0.25) { dice.range(2.0, 8.0) } else { 0.0 };
    canvas.each(|pixel| {
        let speck = if grain > 0.0 { (dice.unit() - 0.5) * grain * 2.0 } else { 0.0 };
        pixel.map(|v| v * gain + lift + speck)
    });
}

fn place((x, y): (f32, f32)) -> &'static str {
    let third = |v: f32| usize::from(v > 28.0) + usize::from(v > 36.0);
    [["upper left", "top", "upper right"], ["left", "middle", "right"], ["lower left", "bottom", "lower right"]]
        [third(y)][third(x)]
}

fn size(pixels: f32) -> &'static str {
    match pixels {
        p if p < 42.0 => "small",
        p if p < 51.0 => "medium",
        _ => "large",
    }
}
