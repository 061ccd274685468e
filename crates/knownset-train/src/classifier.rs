//! Training a classifier by a recipe: pictures of known classes, and whatever else the recipe learns from.

use std::fmt::Debug;
use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::network::{Trunk, initialise_with};
use knownset_nn::{BackboneEntry, Precision, Weights};
use rand::seq::SliceRandom;
use rayon::prelude::*;

use crate::augment::{Augment, stream};
use crate::error::TrainError;
use crate::network::Network;
use crate::pictures::{Labelled, Pictures, normalised};
use crate::recipe::{Batch, Moment, Recipe, Step, hits};
use crate::sampler::{Indices, Pools, lasts, plan};
use crate::sio::{Second, Sio, Weighting};
use crate::trainer::{Event, Objective, Trained, Training};

/// Images per batch when validating.
const VALIDATION_BATCH: usize = 64;
/// Streams of augmentation of synthetic pictures and outliers begin here; real ones begin at 0.
const SYNTHETIC_STREAMS: usize = 1 << 40;
const OUTLIER_STREAMS: usize = 1 << 41;
/// Told apart from the seed of everything else that is drawn for a step.
const MIXING: u64 = 0x4d49_5845;
/// A picture's views have streams this far apart.
const VIEW_STREAMS: usize = 1 << 42;

/// What a classifier is trained on.
#[derive(Clone, Copy)]
pub struct Classification<'a> {
    /// The network to train, from random weights.
    pub backbone: &'static BackboneEntry,
    /// Number of known classes K.
    pub classes: usize,
    /// Training images.
    pub data: &'a dyn Labelled,
    /// Synthetic images of the known classes, for SIO.
    pub synthetic: Option<&'a dyn Labelled>,
    /// Images of anything else, for recipes that learn from them.
    pub outliers: Option<&'a dyn Pictures>,
    /// Images whose accuracy is reported after every epoch; they decide which epoch is kept, if that is asked for.
    pub validation: Option<&'a dyn Labelled>,
    /// Changes to training images, for recipes that do not bring their own.
    pub augment: &'a Augment,
}

/// A recipe whose parts' type is nobody's business.
pub(crate) trait Teach: Debug + Send + Sync {
    /// Trains to the end, or as far as `watch` lets it. `name` is the recipe's, with its parameters.
    fn train(
        &self,
        name: &str,
        task: &Classification<'_>,
        sio: Option<&Sio>,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError>;
}

impl<R: Recipe> Teach for R {
    fn train(
        &self,
        name: &str,
        task: &Classification<'_>,
        sio: Option<&Sio>,
        training: &Training<'_>,
        watch: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>,
    ) -> Result<Trained, TrainError> {
        let &Training { seed, batch, precision, .. } = training;
        let run = Run { task: *task, recipe: self, sio, name, seed, batch, precision };
        run.check()?;
        training.run(&run, watch)
    }
}

/// A recipe and what it is trained on.
struct Run<'a, R> {
    task: Classification<'a>,
    recipe: &'a R,
    sio: Option<&'a Sio>,
    name: &'a str,
    seed: u64,
    batch: usize,
    precision: Precision,
}

/// The pictures of one step from one source.
#[derive(Default)]
struct Pixels {
    /// Each view's normalised values, one picture after the other.
    values: Vec<Vec<f32>>,
    labels: Vec<usize>,
}

/// The pictures of one step.
struct Loaded {
    known: Pixels,
    synthetic: Pixels,
    outliers: Pixels,
}

impl<R: Recipe> Objective for Run<'_, R> {
    type Network = Network<R::Parts>;
    type Indices = Indices;
    type Batch = Loaded;

    fn build(&self, device: &Device) -> Self::Network {
        let Classification { backbone, classes, .. } = self.task;
        let trunk = Trunk::new(backbone.architecture, self.recipe.outputs(classes), device);
        let trunk = trunk.expect("checked before the run");
        let parts = self.recipe.parts(trunk.width(), classes, device);
        Network { trunk, parts, precision: self.precision }
    }

    fn initialise(&self, network: Self::Network, seed: u64) -> Self::Network {
        initialise_with(network, seed, |name, shape| self.recipe.init(name, shape))
    }

    fn settings(&self) -> serde_json::Value {
        let Classification { backbone, classes, augment, .. } = self.task;
        let Pools { known, synthetic, outliers } = self.pools();
        serde_json::json!({
            "recipe": self.name, "backbone": backbone.name, "classes": classes, "augment": augment.to_string(),
            "images": known, "synthetic": synthetic, "outliers": outliers,
        })
    }

    fn spared(&self) -> &'static [&'static str] {
        self.recipe.spared()
    }

    fn mixes(&self) -> bool {
        true
    }

    fn plan(&self, epoch: usize) -> Vec<Indices> {
        plan(self.pools(), self.batch, self.recipe.outliers_per_picture(), self.sio, self.seed, epoch)
    }

    fn count(&self, indices: &Indices) -> usize {
        indices.known.len() + indices.synthetic.len()
    }

    fn load(&self, indices: &Indices, epoch: usize) -> Result<Loaded, String> {
        let Classification { data, synthetic, outliers, .. } = self.task;
        let mut known = self.views(&indices.known, 0, epoch, &|index| data.picture(index))?;
        known.labels = indices.known.iter().map(|&index| data.label(index)).collect();
        let synthetic = match synthetic {
            None => Pixels::default(),
            Some(data) => Pixels {
                labels: indices.synthetic.iter().map(|&index| data.label(index)).collect(),
                ..self.views(&indices.synthetic, SYNTHETIC_STREAMS, epoch, &|index| data.picture(index))?
            },
        };
        let outliers = match outliers {
            None => Pixels::default(),
            Some(data) => self.views(&indices.outliers, OUTLIER_STREAMS, epoch, &|index| data.picture(index))?,
        };
        Ok(Loaded { known, synthetic, outliers })
    }

    fn step(&self, network: &mut Self::Network, loaded: Loaded, moment: &Moment, device: &Device) -> Step {
        let Loaded { known, synthetic, outliers } = loaded;
        let outliers = self.tensors(outliers.values, device);
        let batch = |views: Pixels| Batch {
            labels: views.labels,
            views: self.tensors(views.values, device),
            outliers: outliers.clone(),
            classes: self.task.classes,
        };
        let explicit = self.sio.filter(|sio| sio.weighting == Weighting::Explicit);
        match explicit {
            Some(sio) if !known.labels.is_empty() && !synthetic.labels.is_empty() => {
                let real = self.recipe.step(network, &batch(known), moment);
                let other = self.recipe.step(network, &batch(synthetic), moment);
                let loss = real.loss * sio.alpha + other.loss * (1.0 - sio.alpha);
                Step { loss, hits: real.hits + other.hits }
            }
            _ => self.recipe.step(network, &batch(self.mixed(known, synthetic, moment)), moment),
        }
    }

    fn validate(&self, network: &Self::Network, device: &Device) -> Result<Option<f64>, String> {
        let Classification { validation: Some(data), backbone, .. } = self.task else { return Ok(None) };
        let mut right = 0;
        let indices: Vec<usize> = (0..data.len()).collect();
        for chunk in indices.chunks(VALIDATION_BATCH) {
            let load = |&index: &usize| Ok(normalised(data.picture(index)?, &backbone.preprocess));
            let inputs: Result<Vec<Vec<f32>>, String> = chunk.par_iter().map(load).collect();
            let labels: Vec<usize> = chunk.iter().map(|&index| data.label(index)).collect();
            let images = self.tensor(inputs?.concat(), device);
            right += hits(&self.recipe.logits(network, network.embed(images)), &labels);
        }
        Ok(Some(right as f64 / data.len().max(1) as f64))
    }

    fn export(&self, weights: Weights) -> Weights {
        let mut tensors = weights.into_tensors();
        let head = self.task.backbone.architecture.head().unwrap_or_default();
        self.recipe.export(&mut tensors, head);
        Weights::from_tensors(tensors)
    }
}

impl<R: Recipe> Run<'_, R> {
    /// What would go wrong later is refused now.
    fn check(&self) -> Result<(), TrainError> {
        let Classification { backbone, data, synthetic, validation, .. } = self.task;
        if backbone.architecture.head().is_none() {
            return Err(TrainError::Backbone { backbone: backbone.name });
        }
        let pools = self.pools();
        if pools.known == 0 {
            return Err(TrainError::Empty);
        }
        let recipe = || self.name.to_owned();
        if self.recipe.outliers_per_picture() > 0.0 {
            if pools.outliers == 0 {
                return Err(TrainError::NoOutliers { recipe: recipe() });
            }
        } else if self.task.outliers.is_some() {
            return Err(TrainError::UnwantedOutliers { recipe: recipe() });
        }
        match self.sio {
            None if synthetic.is_some() => return Err(TrainError::UnwantedSynthetic { recipe: recipe() }),
            Some(sio) if sio.wants_synthetic() && pools.synthetic == 0 => return Err(TrainError::NoSynthetic),
            // Explicit weights need an image of each kind to weigh.
            Some(sio)
                if sio.real(self.batch) == 0
                    && (sio.second == Second::None || (sio.weighting == Weighting::Explicit && sio.alpha > 0.0)) =>
            {
                return Err(TrainError::NothingLeft { alpha: sio.alpha, batch: self.batch });
            }
            Some(sio) if !lasts(pools, self.batch, sio) => {
                return Err(TrainError::Exhausted { found: pools.synthetic });
            }
            _ => {}
        }
        let all = [("training", Some(data)), ("synthetic", synthetic), ("validation", validation)];
        for (what, data) in all.into_iter().filter_map(|(what, data)| Some((what, data?))) {
            let classes = self.task.classes;
            let wrong = (0..data.len()).map(|image| (image, data.label(image))).find(|&(_, label)| label >= classes);
            if let Some((image, label)) = wrong {
                return Err(TrainError::Label { what, image, label, classes });
            }
        }
        Ok(())
    }

    fn pools(&self) -> Pools {
        Pools {
            known: self.task.data.len(),
            synthetic: self.task.synthetic.map_or(0, Pictures::len),
            outliers: self.task.outliers.map_or(0, Pictures::len),
        }
    }

    /// Reads pictures and makes the recipe's views of them.
    fn views(
        &self,
        indices: &[usize],
        streams: usize,
        epoch: usize,
        picture: &(dyn Fn(usize) -> Result<Vec<f32>, String> + Sync),
    ) -> Result<Pixels, String> {
        let spec = &self.task.backbone.preprocess;
        let side = spec.size as usize;
        let changes = self.recipe.views(self.task.augment);
        let make = |(place, &index): (usize, &usize)| -> Result<Vec<Vec<f32>>, String> {
            let random = |view: usize| {
                let mut random = stream(self.seed, epoch, streams + view * VIEW_STREAMS + index);
                // A picture that an epoch sees twice is changed in another way each time.
                random.set_word_pos((place as u128) << 32);
                random
            };
            let shared = changes.once.apply(picture(index)?, side, &mut random(0));
            let views = changes.each.iter().enumerate();
            let views = views.map(|(view, own)| own.apply(shared.clone(), side, &mut random(view + 1)));
            Ok(views.map(|view| normalised(view, spec)).collect())
        };
        let pictures: Result<Vec<_>, String> = indices.par_iter().enumerate().map(make).collect();
        let mut values = vec![Vec::new(); changes.each.len()];
        for picture in pictures? {
            values.iter_mut().zip(picture).for_each(|(all, one)| all.extend(one));
        }
        Ok(Pixels { values, labels: Vec::new() })
    }

    /// Real and synthetic pictures as one batch, in an order by chance.
    fn mixed(&self, known: Pixels, synthetic: Pixels, moment: &Moment) -> Pixels {
        if synthetic.labels.is_empty() {
            return known;
        }
        let plane = 3 * (self.task.backbone.preprocess.size as usize).pow(2);
        let labels: Vec<usize> = known.labels.into_iter().chain(synthetic.labels).collect();
        let mut order: Vec<usize> = (0..labels.len()).collect();
        // Not the numbers a recipe draws in this step, lest what it draws depends on where a picture comes from.
        order.shuffle(&mut stream(moment.seed ^ MIXING, moment.epoch, moment.step));
        let values = known.values.into_iter().zip(synthetic.values).map(|(mut known, synthetic)| {
            known.extend(synthetic);
            order.iter().flat_map(|&place| &known[place * plane..(place + 1) * plane]).copied().collect()
        });
        Pixels { values: values.collect(), labels: order.iter().map(|&place| labels[place]).collect() }
    }

    /// Views as tensors; none if there are no pictures.
    fn tensors(&self, views: Vec<Vec<f32>>, device: &Device) -> Vec<Tensor<4>> {
        views.into_iter().filter(|values| !values.is_empty()).map(|values| self.tensor(values, device)).collect()
    }

    fn tensor(&self, values: Vec<f32>, device: &Device) -> Tensor<4> {
        let side = self.task.backbone.preprocess.size as usize;
        let n = values.len() / (3 * side * side);
        Tensor::from_data(TensorData::new(values, [n, 3, side, side]), device)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use knownset_core::{Filter, Preprocess, Resize};

    use super::*;
    use crate::network::NoParts;
    use crate::recipe::Views;
    use crate::testing::{MOMENT, TINY, number, values};

    const SIDE: u32 = 8;

    /// Undoes the eighth of [`Filled`].
    static SMALL: BackboneEntry = BackboneEntry {
        name: "small",
        doc: "One block.",
        paper: "https://arxiv.org/abs/1512.03385",
        preprocess: Preprocess {
            resize: Resize::Exact { size: SIDE, filter: Filter::Bilinear },
            size: SIDE,
            mean: [0.0; 3],
            std: [0.125; 3],
        },
        architecture: TINY,
    };

    /// Pictures of these labels, filled with an eighth of them.
    struct Filled(&'static [usize]);

    impl Pictures for Filled {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn picture(&self, index: usize) -> Result<Vec<f32>, String> {
            Ok(vec![self.0[index] as f32 / 8.0; 3 * (SIDE * SIDE) as usize])
        }
    }

    impl Labelled for Filled {
        fn label(&self, index: usize) -> usize {
            self.0[index]
        }
    }

    /// Two views. The loss is the mean of what pictures are filled with, right are those whose views are filled with
    /// their label.
    #[derive(Debug)]
    struct Reading;

    impl Recipe for Reading {
        type Parts = NoParts;

        fn views(&self, standard: &Augment) -> Views {
            Views { once: Augment::default(), each: vec![standard.clone(), standard.clone()] }
        }

        fn parts(&self, _: usize, _: usize, _: &Device) -> NoParts {
            NoParts {}
        }

        fn step(&self, _: &mut Network<NoParts>, batch: &Batch, _: &Moment) -> Step {
            let read = |view: &Tensor<4>| view.clone().flatten::<2>(1, 3).mean_dim(1);
            let [first, second] = [&batch.views[0], &batch.views[1]].map(|view| values(&read(view)));
            let right = |(place, &label): (usize, &usize)| [first[place], second[place]] == [label as f64; 2];
            let hits = batch.labels.iter().enumerate().filter(|&pair| right(pair)).count();
            Step { loss: read(&batch.views[0]).mean(), hits }
        }
    }

    /// Two real pictures, whose loss is (1 + 2) / 2, and three synthetic ones, whose loss is (3 + 5 + 7) / 3.
    fn with_run<T>(sio: Sio, look: impl FnOnce(&Run<'_, Reading>, &dyn Fn() -> Loaded) -> T) -> T {
        let augment = Augment::default();
        let task = Classification {
            backbone: &SMALL,
            classes: 8,
            data: &Filled(&[1, 2]),
            synthetic: Some(&Filled(&[3, 5, 7])),
            outliers: None,
            validation: None,
            augment: &augment,
        };
        let (sio, precision) = (Some(&sio), Precision::F32);
        let run = Run { task, recipe: &Reading, sio, name: "reading", seed: 1, batch: 5, precision };
        let all = Indices { known: vec![0, 1], synthetic: vec![0, 1, 2], outliers: Vec::new() };
        look(&run, &|| run.load(&all, 1).unwrap())
    }

    fn step(sio: Sio) -> Step {
        let device = Device::flex().autodiff();
        with_run(sio, |run, load| run.step(&mut run.build(&device), load(), &MOMENT, &device))
    }

    /// α = 0.25: 0.25 · 1.5 + 0.75 · 5, whatever the batch's composition, by which the mean is 18 / 5.
    #[test]
    fn explicit_weights_are_factors_of_each_kinds_own_loss() {
        let explicit = Sio { alpha: 0.25, weighting: Weighting::Explicit, ..Sio::default() };
        let (weighted, mixed) = (step(explicit), step(Sio { weighting: Weighting::Composition, ..explicit }));
        let losses = [&weighted, &mixed].map(|step| number(&step.loss));
        assert!((losses[0] - 4.125).abs() < 1e-6 && (losses[1] - 3.6).abs() < 1e-6, "{losses:?}");
        assert_eq!((weighted.hits, mixed.hits), (5, 5));
    }

    #[test]
    fn mixed_batches_keep_every_label_with_its_picture() {
        with_run(Sio::default(), |run, load| {
            let mut orders = BTreeSet::new();
            for step in 0..20 {
                let Loaded { known, synthetic, .. } = load();
                let mixed = run.mixed(known, synthetic, &Moment { step, ..MOMENT });
                assert_eq!(mixed.values.len(), 2);
                for view in &mixed.values {
                    assert_eq!(view.len(), 5 * 3 * (SIDE * SIDE) as usize);
                    for (picture, &label) in view.chunks(view.len() / 5).zip(&mixed.labels) {
                        assert!(picture.iter().all(|&pixel| pixel == label as f32), "{label}: {picture:?}");
                    }
                }
                let mut labels = mixed.labels.clone();
                labels.sort_unstable();
                assert_eq!(labels, [1, 2, 3, 5, 7]);
                orders.insert(mixed.labels);
            }
            assert!(orders.len() > 10, "{orders:?}");
        });
    }
}
