//! Times steps of the contrastive recipe on random data.
use std::ops::ControlFlow;
use std::time::Instant;
use knownset_core::{Filter, Preprocess, Resize};
use knownset_nn::network::{ClipSpec, TowerSpec};
use knownset_train::*;
struct Data(usize);
impl Captioned for Data {
    fn len(&self) -> usize { self.0 }
    fn pair(&self, index: usize, _: &mut rand_chacha::ChaCha8Rng) -> Result<(Vec<f32>, Vec<u32>), String> {
        Ok(((0..3*64*64).map(|i| ((i * 7 + index * 13) % 11) as f32 / 11.0).collect(), (0..16).map(|i| ((i * 31 + index * 7) % 1000) as u32).collect()))
    }
}
fn main() {
    let a: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let tower = |width, depth| TowerSpec { width, hidden: 4 * width, depth, heads: width / 32, quick_gelu: true, epsilon: 1e-5 };
    let spec = ClipSpec { projection: 128, image: 64, patch: a[0], vision: tower(a[1], a[2]), vocabulary: 2048, context: 32, text: tower(a[3], a[4]) };
    let pre = Preprocess { resize: Resize::Exact { size: 64, filter: Filter::Bicubic }, size: 64, mean: [0.5; 3], std: [0.25; 3] };
    let data = Data(a[5] * 6);
    let out = std::env::temp_dir().join(format!("clipspeed{}", std::process::id()));
    let training = Training { fingerprint: "x".into(), epochs: 1, batch: a[5], optimiser: Optimiser::AdamW { beta1: 0.9, beta2: 0.98, epsilon: 1e-6, weight_decay: 0.1 }, schedule: Schedule { lr: 1e-3, warmup: 2 }, seed: 0, out: &out, resume: false };
    let task = Contrastive { spec: &spec, preprocess: &pre, data: &data, validation: None, augment: Augment { pad: 4, flip: false } };
    let mut last = Instant::now();
    let t = task.train(&training, &mut |e| { if let Event::Step(n) = e { println!("{:.1} images/s", n as f64 / last.elapsed().as_secs_f64()); last = Instant::now(); } ControlFlow::Continue(()) });
    println!("{:?}", t.map(|t| t.epochs));
}
