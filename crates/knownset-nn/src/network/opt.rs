//! OPT (Zhang et al. 2022, <https://arxiv.org/abs/2205.01068>), a causal language model, as Hugging Face lays it out.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::activation::{gelu, relu};
use burn::tensor::{Device, Int, Tensor};

use super::attention::{attend, causal};
use super::parameters::Named;

/// Rows of the table of positions that no position uses.
const OFFSET: usize = 2;

/// A language model's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the released configurations")]
pub struct OptSpec {
    /// Number of token ids V.
    pub vocabulary: usize,
    /// Longest text in tokens.
    pub positions: usize,
    /// Length w of a token inside.
    pub width: usize,
    /// Length of a word vector, at the entrance and before the head; where it is not `width`, a projection is between them.
    pub words: usize,
    /// Length of the hidden layer of a block's perceptron.
    pub hidden: usize,
    /// Number of blocks.
    pub depth: usize,
    /// Attention heads per block; they divide `width`.
    pub heads: usize,
    /// Whether blocks normalise before attention and perceptron (all but OPT-350M) instead of behind them.
    pub norm_first: bool,
    /// Whether the last block's tokens are normalised.
    pub norm_last: bool,
    /// Whether linear layers of the blocks have biases.
    pub biases: bool,
    /// Whether the activation is the exact GELU instead of ReLU.
    pub gelu: bool,
    /// Whether the head is the table of word vectors.
    pub tied: bool,
}

impl OptSpec {
    fn norm(&self, device: &Device) -> LayerNorm {
        LayerNormConfig::new(self.width).with_epsilon(1e-5).init(device)
    }

    fn linear(&self, inputs: usize, outputs: usize, device: &Device) -> Linear {
        LinearConfig::new(inputs, outputs).with_bias(self.biases).init(device)
    }
}

/// What a model has read: keys and values of every block, so that nothing is read twice.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// `[n, T, w]` each; none before the first token.
    blocks: Vec<(Tensor<3>, Tensor<3>)>,
}

impl Past {
    /// Number T of tokens read.
    pub fn tokens(&self) -> usize {
        self.blocks.first().map_or(0, |(keys, _)| keys.dims()[1])
    }

    /// The pasts of as many texts, all of one length, below one another.
    pub fn stack(pasts: &[&Self]) -> Self {
        let depth = pasts.first().map_or(0, |past| past.blocks.len());
        let rows = |block: usize| {
            let (keys, values): (Vec<_>, Vec<_>) = pasts.iter().map(|past| past.blocks[block].clone()).unzip();
            (Tensor::cat(keys, 0), Tensor::cat(values, 0))
        };
        Self { blocks: (0..depth).map(rows).collect() }
    }

    /// Keys and values of a block, with those of more tokens behind them.
    fn extend(&mut self, block: usize, keys: Tensor<3>, values: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let all = match self.blocks.get(block) {
            Some((old_keys, old_values)) => {
                (Tensor::cat(vec![old_keys.clone(), keys], 1), Tensor::cat(vec![old_values.clone(), values], 1))
            }
            None => (keys, values),
        };
        if block < self.blocks.len() {
            self.blocks[block] = all.clone();
        } else {
            self.blocks.push(all.clone());
        }
        all
    }
}

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    heads: usize,
}

#[derive(Module, Debug)]
struct OptBlock {
    self_attn: Attention,
    self_attn_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    final_layer_norm: LayerNorm,
    norm_first: bool,
    gelu: bool,
}

impl OptBlock {
    fn new(spec: &OptSpec, device: &Device) -> Self {
        let square = || spec.linear(spec.width, spec.width, device);
        let self_attn =
            Attention { q_proj: square(), k_proj: square(), v_proj: square(), out_proj: square(), heads: spec.heads };
        Self {
            self_attn,
            self_attn_layer_norm: spec.norm(device),
            fc1: spec.linear(spec.width, spec.hidden, device),
            fc2: spec.linear(spec.hidden, spec.width, device),
            final_layer_norm: spec.norm(device),
            norm_first: spec.norm_first,
            gelu: spec.gelu,
        }
    }

    /// Tokens `[n, T, w]` behind those of the past.
    fn forward(&self, input: Tensor<3>, mask: Option<&Tensor<2>>, past: &mut Past, block: usize) -> Tensor<3> {
        let attention = |rows: Tensor<3>| {
            let Attention { q_proj, k_proj, v_proj, out_proj, heads } = &self.self_attn;
            let (keys, values) = past.extend(block, k_proj.forward(rows.clone()), v_proj.forward(rows.clone()));
            out_proj.forward(attend(q_proj.forward(rows), keys, values, *heads, mask))
        };
        let perceptron = |rows: Tensor<3>| {
            let inner = self.fc1.forward(rows);
            self.fc2.forward(if self.gelu { gelu(inner) } else { relu(inner) })
        };
        let hidden = self.residual(input, &self.self_attn_layer_norm, attention);
        self.residual(hidden, &self.final_layer_norm, perceptron)
    }

    /// A branch beside which its input goes on, normalised before or behind.
    fn residual(&self, input: Tensor<3>, norm: &LayerNorm, branch: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Tensor<3> {
        if self.norm_first {
            input.clone() + branch(norm.forward(input))
        } else {
            norm.forward(input.clone() + branch(input))
        }
    }
}

/// The language model: token ids in, logits of the next token out.
#[derive(Module, Debug)]
pub struct Opt {
    embed_tokens: Embedding,
    embed_positions: Embedding,
    project_in: Option<Linear>,
    layers: Vec<OptBlock>,
    final_layer_norm: Option<LayerNorm>,
    project_out: Option<Linear>,
    lm_head: Option<Linear>,
}

impl Opt {
    /// A model with weights yet to be set, by [`load`](super::load) or [`initialise`](super::initialise).
    pub fn new(spec: &OptSpec, device: &Device) -> Self {
        let map = |inputs, outputs| LinearConfig::new(inputs, outputs).with_bias(false).init(device);
        let projected = spec.words != spec.width;
        Self {
            embed_tokens: EmbeddingConfig::new(spec.vocabulary, spec.words).init(device),
            embed_positions: EmbeddingConfig::new(spec.positions + OFFSET, spec.width).init(device),
            project_in: projected.then(|| map(spec.words, spec.width)),
            layers: (0..spec.depth).map(|_| OptBlock::new(spec, device)).collect(),
            final_layer_norm: spec.norm_last.then(|| spec.norm(device)),
            project_out: projected.then(|| map(spec.width, spec.words)),
            lm_head: (!spec.tied).then(|| map(spec.words, spec.vocabulary)),
        }
    }

    /// Ids `[n, T]` → word vectors `[n, T, words]`, before their positions are added.
    pub fn vectors(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.embed_tokens.forward(ids)
    }

    /// Reads word vectors `[n, T, words]`, which need not be those of any word, behind what `past` holds, and adds them
    /// to it; → what the model makes of each, `[n, T, words]`.
    pub fn read(&self, vectors: Tensor<3>, past: &mut Past) -> Tensor<3> {
        let [_, tokens, _] = vectors.dims();
        let before = past.tokens();
        let places = self.embed_positions.weight.val().narrow(0, OFFSET + before, tokens);
        // A single token may look everywhere.
        let mask = (tokens > 1).then(|| causal(tokens, before, &vectors.device()));
        let inner = self.project_in.as_ref().map_or(vectors.clone(), |map| map.forward(vectors));
        let mut hidden = inner + places.unsqueeze::<3>();
        for (number, block) in self.layers.iter().enumerate() {
            hidden = block.forward(hidden, mask.as_ref(), past, number);
        }
        if let Some(norm) = &self.final_layer_norm {
            hidden = norm.forward(hidden);
        }
        self.project_out.as_ref().map_or(hidden.clone(), |map| map.forward(hidden))
    }

    /// What the model makes of a token `[n, words]` → logits of the next one `[n, V]`.
    pub fn logits(&self, rows: Tensor<2>) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.forward(rows),
            None => rows.matmul(self.embed_tokens.weight.val().transpose()),
        }
    }

    /// Where its tensors are.
    pub fn device(&self) -> Device {
        self.embed_tokens.weight.device()
    }

    /// Number V of token ids.
    pub fn vocabulary(&self) -> usize {
        self.embed_tokens.weight.dims()[0]
    }

    /// Longest text in tokens.
    pub fn positions(&self) -> usize {
        self.embed_positions.weight.dims()[0] - OFFSET
    }
}

impl Named for Opt {
    fn checkpoint_name(&self, path: &[String]) -> String {
        let path = path.join(".");
        if path.starts_with("lm_head") { path } else { format!("model.decoder.{path}") }
    }
}
