//! A module's tensors by the names of its checkpoint, both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use knownset_core::digest::Hasher;

use crate::parts::RECIPE_PREFIX;
use crate::weights::{HostTensor, Weights};

/// A module whose tensors have the names of a published checkpoint.
pub trait Named: Module {
    /// The checkpoint's name of the tensor at a path of field names, such as `layers.0.1.conv2.norm.weight`.
    ///
    /// burn's `gamma` and `beta` arrive already renamed to `weight` and `bias`.
    fn checkpoint_name(&self, path: &[String]) -> String;
}

/// Tensors a network wants and tensors a file has, where they differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// The file, if the weights came from one.
    pub path: Option<PathBuf>,
    /// Wanted, not in the file.
    pub missing: Vec<String>,
    /// In the file, not wanted.
    pub unexpected: Vec<String>,
    /// Name, shape wanted, shape in the file.
    pub wrong_shape: Vec<(String, Vec<usize>, Vec<usize>)>,
}

impl std::error::Error for Mismatch {}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        write!(f, "the weights do not fit the network")?;
        let shapes = self.wrong_shape.iter().map(|(name, want, have)| format!("{name} (wants {want:?}, has {have:?})"));
        list(f, "missing", self.missing.iter().cloned())?;
        list(f, "unexpected", self.unexpected.iter().cloned())?;
        list(f, "wrong shape", shapes)
    }
}

/// The first ten of a kind and how many more there are.
fn list(f: &mut fmt::Formatter<'_>, kind: &str, items: impl ExactSizeIterator<Item = String>) -> fmt::Result {
    const SHOWN: usize = 10;
    let count = items.len();
    if count == 0 {
        return Ok(());
    }
    let shown: Vec<String> = items.take(SHOWN).collect();
    write!(f, "; {kind} ({count}): {}", shown.join(", "))?;
    if count > SHOWN { write!(f, " and {} more", count - SHOWN) } else { Ok(()) }
}

/// The module with every tensor taken from `weights`: all found, all used, all of the right shape, else an error.
pub fn load<M: Named>(module: M, weights: &Weights) -> Result<M, Mismatch> {
    fill(module, weights, |_| false)
}

/// The same, where each tensor's memory goes over to the module: weights and module are never there twice.
pub fn load_owned<M: Named>(module: M, weights: Weights) -> Result<M, Mismatch> {
    compare(&module, &weights, |_| false)?;
    let mut tensors = weights.into_tensors();
    Ok(replace(module, |name, _| tensors.remove(name).map(|tensor| tensor.values).unwrap_or_default()))
}

/// [`load`], of weights that may also hold a recipe's tensors: those called `recipe.NAME` are left for
/// [`parts`](crate::parts()).
pub fn load_beside_parts<M: Named>(module: M, weights: &Weights) -> Result<M, Mismatch> {
    fill(module, weights, |name| name.starts_with(RECIPE_PREFIX))
}

/// [`load`], but that tensors for which `aside(name)` holds need not be used.
fn fill<M: Named>(module: M, weights: &Weights, aside: impl Fn(&str) -> bool) -> Result<M, Mismatch> {
    compare(&module, weights, aside)?;
    Ok(replace(module, |name, _| weights.get(name).map(|tensor| tensor.values.clone()).unwrap_or_default()))
}

/// Whether the weights are the module's, but that tensors for which `aside(name)` holds may be there too.
fn compare<M: Named>(module: &M, weights: &Weights, aside: impl Fn(&str) -> bool) -> Result<(), Mismatch> {
    let wanted = shapes(module);
    let names: BTreeSet<&str> = wanted.keys().map(String::as_str).collect();
    let mut mismatch = Mismatch {
        path: weights.path().map(Into::into),
        missing: names.iter().filter(|name| weights.get(name).is_none()).map(|&name| name.to_owned()).collect(),
        unexpected: weights
            .iter()
            .map(|(name, _)| name)
            .filter(|name| !names.contains(name) && !aside(name))
            .map(Into::into)
            .collect(),
        wrong_shape: Vec::new(),
    };
    for (name, shape) in &wanted {
        match weights.get(name) {
            Some(tensor) if tensor.shape != *shape => {
                mismatch.wrong_shape.push((name.clone(), shape.clone(), tensor.shape.clone()));
            }
            _ => {}
        }
    }
    if mismatch.missing.is_empty() && mismatch.unexpected.is_empty() && mismatch.wrong_shape.is_empty() {
        Ok(())
    } else {
        Err(mismatch)
    }
}

/// All tensors of the module, BatchNorm's running statistics included, under the checkpoint's names and layouts.
pub fn to_weights<M: Named>(module: &M) -> Weights {
    Weights::from_tensors(handles(module).into_iter().map(|(name, read)| (name, read())).collect())
}

/// [`Weights::sha256`] of [`to_weights`], of which one tensor is there at a time.
pub fn weights_sha256<M: Named>(module: &M) -> String {
    let mut hasher = Hasher::default();
    for (name, read) in handles(module) {
        read().hash(&name, &mut hasher);
    }
    hasher.finish()
}

/// Reads a tensor of a module, in the checkpoint's layout.
type Read = Box<dyn FnOnce() -> HostTensor>;

/// What reads each tensor of the module, by name.
fn handles<M: Named>(module: &M) -> BTreeMap<String, Read> {
    // burn's running statistics are one update late until `valid` settles them.
    let module = &module.valid();
    let mut reader = Reader { names: Names::new(module), tensors: BTreeMap::new() };
    module.visit(&mut reader);
    reader.tensors
}

/// Names and shapes of the module's tensors as its checkpoint has them.
pub fn shapes<M: Named>(module: &M) -> BTreeMap<String, Vec<usize>> {
    let mut lister = Lister { names: Names::new(module), shapes: BTreeMap::new() };
    module.visit(&mut lister);
    lister.shapes
}

/// The module with each tensor set to `values(name, shape)`, given in the checkpoint's layout.
pub(super) fn replace<M: Named>(module: M, values: impl FnMut(&str, &[usize]) -> Vec<f32>) -> M {
    let template = module.clone();
    module.map(&mut Writer { names: Names::new(&template), values })
}

/// Follows a walk over the module and names what it meets.
struct Names<'a, M> {
    module: &'a M,
    path: Vec<String>,
    /// Types of the containers of `path`.
    containers: Vec<String>,
}

impl<'a, M: Named> Names<'a, M> {
    fn new(module: &'a M) -> Self {
        Self { module, path: Vec::new(), containers: Vec::new() }
    }

    fn enter(&mut self, name: &str, container: &str) {
        let name = match name {
            "gamma" => "weight",
            "beta" => "bias",
            other => other,
        };
        self.path.push(name.to_owned());
        self.containers.push(container.to_owned());
    }

    fn exit(&mut self) {
        self.path.pop();
        self.containers.pop();
    }

    fn name(&self) -> String {
        self.module.checkpoint_name(&self.path)
    }

    /// burn's Linear keeps `[in, out]`, checkpoints keep `[out, in]`.
    fn transposed(&self) -> bool {
        self.containers.last().is_some_and(|container| container == "Struct:Linear")
    }

    /// The shape in the checkpoint of a tensor of this shape in the module.
    fn shape(&self, mut shape: Vec<usize>) -> Vec<usize> {
        if self.transposed() {
            shape.reverse();
        }
        shape
    }
}

struct Lister<'a, M> {
    names: Names<'a, M>,
    shapes: BTreeMap<String, Vec<usize>>,
}

impl<M: Named> ModuleVisitor for Lister<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.shapes.insert(self.names.name(), self.names.shape(param.lazy_shape().to_vec()));
    }
}

struct Reader<'a, M> {
    names: Names<'a, M>,
    tensors: BTreeMap<String, Read>,
}

impl<M: Named> ModuleVisitor for Reader<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let shape = self.names.shape(tensor.dims().to_vec());
        let transposed = self.names.transposed() && D == 2;
        let read = move || {
            let tensor = if transposed { tensor.transpose() } else { tensor };
            HostTensor { shape, values: tensor.into_data().iter::<f32>().collect() }
        };
        self.tensors.insert(self.names.name(), Box::new(read));
    }
}

struct Writer<'a, M, F> {
    names: Names<'a, M>,
    values: F,
}

impl<M: Named, F: FnMut(&str, &[usize]) -> Vec<f32>> ModuleMapper for Writer<'_, M, F> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.names.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.names.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = self.names.shape(param.lazy_shape().to_vec());
        let mut values = (self.values)(&self.names.name(), &shape);
        let mut dims = shape.clone();
        if self.names.transposed()
            && let [outputs, inputs] = shape[..]
        {
            // Laid out anew rather than viewed transposed: a view would take another path, and round otherwise,
            // than the weights an optimiser step leaves, and a resumed training would drift from an undisturbed one.
            values = (0..inputs * outputs).map(|i| values[i % outputs * inputs + i / outputs]).collect();
            dims = vec![inputs, outputs];
        }
        let tensor = Tensor::<D>::from_data(TensorData::new(values, dims), &param.lazy_device());
        let mut fresh = Param::from_tensor(tensor);
        fresh.id = param.id;
        fresh
    }
}
