//! A recipe for prompts as a user names it, and its whole run.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use knownset_nn::clip::Clip;
use knownset_nn::{Compute, HostTensor, Weights};
use ndarray::Array2;
use rand::seq::SliceRandom;
use serde_json::Value;

use super::context::Prompts;
use super::run::{First, Run};
use super::{PromptRecipe, Stage};
use crate::augment::{Augment, stream};
use crate::chosen::{ChooseError, Named};
use crate::error::TrainError;
use crate::pictures::Labelled;
use crate::recipes::{Kind, RecipeEntry};
use crate::trainer::{Event, Keep, Trained, Training};

/// What prompts are learned on.
#[derive(Clone, Copy)]
pub struct Prompting<'a> {
    /// The towers, which stay as they are.
    pub clip: &'a Clip,
    /// The known classes, as they are spoken.
    pub classes: &'a [String],
    /// Training images; a few of each class are drawn.
    pub data: &'a dyn Labelled,
    /// Images whose accuracy is reported after every epoch; they decide which epoch is kept, if that is asked for.
    pub validation: Option<&'a dyn Labelled>,
    /// Changes to training images, before they pass the frozen tower.
    pub augment: &'a Augment,
}

/// A recipe for prompts with parameters, ready to be followed.
#[derive(Debug)]
pub struct ChosenPrompts {
    entry: &'static RecipeEntry,
    recipe: Box<dyn PromptRecipe>,
    params: Value,
    label: String,
}

/// Prompts that were learned.
#[derive(Debug)]
pub struct Learned {
    /// Text features by their names in [`knownset_core::prompts`]: `[K, d]` the classes', `[R * K, d]` any other, row
    /// r * K + k being class k in its r-th prompt. Rows have length one.
    pub prompts: BTreeMap<&'static str, Array2<f32>>,
    /// The run of each stage.
    pub stages: Vec<Trained>,
}

impl ChosenPrompts {
    /// Reads a choice.
    ///
    /// ```
    /// let chosen = knownset_train::ChosenPrompts::parse("coop:shots=4")?;
    /// assert_eq!(chosen.params()["shots"], 4);
    /// assert_eq!(chosen.stages()[0].name, "classes");
    /// # Ok::<(), knownset_train::ChooseError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ChooseError> {
        let bad = |source| ChooseError::Params { name: text.to_owned(), source };
        let Named { entry, params, label } = Named::read(text)?;
        let Kind::Prompts(parse) = entry.kind else {
            return Err(ChooseError::NoPrompts { name: entry.name });
        };
        let (recipe, params) = parse(params).map_err(bad)?;
        Ok(Self { entry, recipe, params, label })
    }

    /// The recipe.
    pub fn entry(&self) -> &'static RecipeEntry {
        self.entry
    }

    /// Every parameter, defaults filled in.
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// The name and the parameters that were given.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// What is learned, one after the other; each has a run of its own.
    pub fn stages(&self) -> Vec<Stage> {
        self.recipe.stages()
    }

    /// The training images of a seed: as many of each class as the recipe takes, or all where there are fewer.
    ///
    /// # Errors
    /// A class without an image, or an image of none of the classes.
    pub fn draw(&self, task: &Prompting<'_>, seed: u64) -> Result<Vec<usize>, TrainError> {
        let mut of_class = vec![Vec::new(); task.classes.len()];
        for (image, label) in labels(task, "training", task.data)?.into_iter().enumerate() {
            of_class[label].push(image);
        }
        let mut drawn = Vec::new();
        for (class, mut images) in of_class.into_iter().enumerate() {
            if images.is_empty() {
                return Err(TrainError::NoImages { class: task.classes[class].clone() });
            }
            if self.recipe.shots() > 0 {
                images.shuffle(&mut stream(seed, 0, class));
                images.truncate(self.recipe.shots());
            }
            drawn.extend(images);
        }
        Ok(drawn)
    }

    /// Learns the prompts of every stage to the end, or as far as `watch` lets it. `trainings` has a run for each of
    /// [`Self::stages`], of one seed and in a folder of its own.
    pub fn train(
        &self,
        task: &Prompting<'_>,
        trainings: &[Training<'_>],
        watch: &mut dyn FnMut(&Stage, Event<'_>) -> ControlFlow<()>,
    ) -> Result<Learned, TrainError> {
        let mut learned = Learned { prompts: BTreeMap::new(), stages: Vec::new() };
        let mut first = None;
        let validation = task.validation.map(|data| {
            labels(task, "validation", data)?;
            task.encode_whole(data).map_err(TrainError::Image)
        });
        let validation = validation.transpose()?;
        for (number, (stage, training)) in self.stages().iter().zip(trainings).enumerate() {
            if training.compute != Compute::default() {
                return Err(TrainError::OnlyCpu { recipe: self.label.clone() });
            }
            let images = self.draw(task, training.seed)?;
            let prompts = Prompts::new(task.clip, task.classes, stage.layout)?;
            let run = Run {
                task,
                recipe: &*self.recipe,
                label: &self.label,
                stage,
                number,
                prompts: &prompts,
                images: &images,
                validation: validation.as_ref(),
                first: first.as_ref(),
                seed: training.seed,
                batch: training.batch,
            };
            // Images of known classes tell nothing about prompts of what is not known.
            let keep = if number == 0 { training.keep } else { Keep::Last };
            let trained = Training { keep, ..training.clone() }.run(&run, &mut |event| watch(stage, event))?;
            let vectors = vectors(&Weights::open(&trained.weights)?)?;
            let context = TensorData::new(vectors.values.clone(), vectors.shape.clone());
            let embedded = prompts.embed(Tensor::from_data(context, &Device::flex()));
            let ([n, width], values) = (embedded.dims(), embedded.clone().into_data());
            let values: Vec<f32> = values.iter::<f32>().collect();
            let rows = Array2::from_shape_fn((n, width), |(row, column)| values[row * width + column]);
            learned.prompts.insert(stage.name, rows);
            learned.stages.push(trained);
            first.get_or_insert(First { vectors, classes: embedded });
        }
        Ok(learned)
    }
}

/// The learned vectors of a weights file.
fn vectors(weights: &Weights) -> Result<HostTensor, TrainError> {
    let missing = || TrainError::NoVectors { path: weights.path().map(Into::into).unwrap_or_default() };
    weights.get("vectors").cloned().ok_or_else(missing)
}

/// The labels of images, all of known classes.
fn labels(task: &Prompting<'_>, what: &'static str, data: &dyn Labelled) -> Result<Vec<usize>, TrainError> {
    let classes = task.classes.len();
    let labels: Vec<usize> = (0..data.len()).map(|image| data.label(image)).collect();
    match labels.iter().position(|&label| label >= classes) {
        Some(image) => Err(TrainError::Label { what, image, label: labels[image], classes }),
        None => Ok(labels),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::recipes::RECIPES;

    #[test]
    fn every_parameter_is_documented_and_the_first_stage_learns_the_classes() {
        let entries: Vec<_> = RECIPES.iter().filter(|entry| entry.learns_prompts()).collect();
        assert_eq!(entries.len(), 4);
        for entry in entries {
            let chosen = ChosenPrompts::parse(entry.name).unwrap();
            let defaults: BTreeSet<&str> = chosen.params().as_object().unwrap().keys().map(String::as_str).collect();
            let documented: BTreeSet<&str> = entry.params.iter().map(|param| param.name).collect();
            assert_eq!(defaults, documented, "{}", entry.name);
            let stages = chosen.stages();
            assert_eq!((stages[0].name, stages[0].layout.prompts), ("classes", 1), "{}", entry.name);
            assert!(stages.iter().all(|stage| stage.epochs > 0 && stage.lr > 0.0), "{}", entry.name);
        }
    }

    #[test]
    fn choices_are_read_and_wrong_ones_are_refused() {
        assert_eq!(ChosenPrompts::parse("locoop:shots=4:lambda=0.5").unwrap().label(), "locoop:lambda=0.5:shots=4");
        let wrong = |text: &str| ChosenPrompts::parse(text).unwrap_err().to_string();
        assert_eq!(wrong("co-op"), "there is no recipe `co-op`, did you mean `coop`?");
        assert_eq!(wrong("clip"), "the recipe `clip` learns no prompts");
        for text in ["coop:tokens=0", "locoop:top=0", "locoop:lambda=-1", "negprompt:negatives=0", "lsn:x=1"] {
            assert!(matches!(ChosenPrompts::parse(text), Err(ChooseError::Params { .. })), "{text}");
        }
    }
}
