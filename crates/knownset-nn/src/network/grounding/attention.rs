//! Attention with heads, and the module of it that the detector's own layers share.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};

/// Projected queries `[n, Q, w]`, keys and values `[n, K, w]` → `[n, Q, w]`. What `mask` holds, which broadcasts to
/// `[n, heads, Q, K]`, is added to the weights before the softmax.
pub(super) fn attend(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    mask: Option<Tensor<4>>,
) -> Tensor<3> {
    let [n, queries, width] = query.dims();
    let size = width / heads;
    let weights = split(query * (1.0 / (size as f64).sqrt()), heads).matmul(split(key, heads).swap_dims(2, 3));
    let weights = match mask {
        Some(mask) => weights + mask,
        None => weights,
    };
    softmax(weights, 3).matmul(split(value, heads)).swap_dims(1, 2).reshape([n, queries, width])
}

/// `[n, T, w]` → `[n, heads, T, w / heads]`.
pub(super) fn split(rows: Tensor<3>, heads: usize) -> Tensor<4> {
    let [n, tokens, width] = rows.dims();
    rows.reshape([n, tokens, heads, width / heads]).swap_dims(1, 2)
}

/// Attention of the detector's layers.
#[derive(Module, Debug)]
pub(super) struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out_proj: Linear,
    heads: usize,
}

impl Attention {
    pub(super) fn new(width: usize, heads: usize, device: &Device) -> Self {
        let linear = || LinearConfig::new(width, width).init(device);
        Self { query: linear(), key: linear(), value: linear(), out_proj: linear(), heads }
    }

    pub(super) fn forward(
        &self,
        queries: Tensor<3>,
        keys: Tensor<3>,
        values: Tensor<3>,
        mask: Option<Tensor<4>>,
    ) -> Tensor<3> {
        let (query, key) = (self.query.forward(queries), self.key.forward(keys));
        self.out_proj.forward(attend(query, key, self.value.forward(values), self.heads, mask))
    }
}
