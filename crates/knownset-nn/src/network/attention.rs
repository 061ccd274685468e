//! Attention as transformers have it, behind and before whatever linear layers they have.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

/// softmax(q kᵀ / √size) v, for each of the heads that the width is cut into.
///
/// Queries `[n, T, w]`, keys and values `[n, S, w]` → `[n, T, w]`. `mask` `[T, S]` is added before the softmax.
pub(super) fn attend(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    mask: Option<&Tensor<2>>,
) -> Tensor<3> {
    let [n, tokens, width] = query.dims();
    let size = width / heads;
    let split = |rows: Tensor<3>| {
        let [_, tokens, _] = rows.dims();
        rows.reshape([n, tokens, heads, size]).swap_dims(1, 2)
    };
    let query = split(query * (1.0 / (size as f64).sqrt()));
    let mut weights = query.matmul(split(key).swap_dims(2, 3));
    if let Some(mask) = mask {
        weights = weights + mask.clone().unsqueeze::<4>();
    }
    softmax(weights, 3).matmul(split(value)).swap_dims(1, 2).reshape([n, tokens, width])
}

/// The mask `[T, P + T]` of T tokens behind P others: 0 where a token may look, a large negative number at later tokens.
pub(super) fn causal(tokens: usize, past: usize, device: &Device) -> Tensor<2> {
    let all = past + tokens;
    let later = |place: usize| if place % all > past + place / all { f32::MIN } else { 0.0 };
    let values: Vec<f32> = (0..tokens * all).map(later).collect();
    Tensor::from_data(TensorData::new(values, [tokens, all]), device)
}
