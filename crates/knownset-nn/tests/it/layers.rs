//! burn's layers, forward and backward, against PyTorch: what training stands on.

use burn::module::Param;
use burn::nn::BatchNormConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::hashed::{golden, hashed_f32, relative_error};

const TOLERANCE: f32 = 2e-5;

fn leaf<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    let values = hashed_f32(name, shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

#[test]
fn one_training_step_has_pytorchs_gradients() {
    let golden = golden("layers.safetensors");
    let device = Device::flex().autodiff();
    let (images, weight) = (leaf("images", [4, 3, 9, 9]), leaf("weight", [8, 3, 3, 3]));
    let (gamma, beta) = (leaf("gamma", [8]), leaf("beta", [8]));
    let (head, bias) = (leaf("head", [5, 8]), leaf("bias", [5]));
    let mut norm = BatchNormConfig::new(8).init(&device);
    norm.gamma = Param::from_tensor(gamma.clone());
    norm.beta = Param::from_tensor(beta.clone());

    let options = ConvOptions::new_with_padding([2, 2], [(1, 1), (1, 1)], [1, 1], 1);
    let hidden = relu(norm.forward(conv2d(images.clone(), weight.clone(), None, options)));
    let pooled = hidden.clone().mean_dim(3).mean_dim(2).flatten::<2>(1, 3);
    let logits = pooled.matmul(head.clone().transpose()) + bias.clone().unsqueeze();
    let labels = Tensor::<1, Int>::from_data([0, 3, 1, 4], &device);
    let loss = CrossEntropyLossConfig::new().init(&device).forward(logits, labels);
    let grads = loss.backward();

    let samples = (4 * 5 * 5) as f32;
    // burn keeps the biased variance of the batch, PyTorch n / (n − 1) of it.
    let variance = values(norm.running_var.value_sync());
    let unbiased = variance.iter().map(|v| 0.9 + (v - 0.9) * samples / (samples - 1.0)).collect();
    let results: [(&str, Vec<f32>); 10] = [
        ("loss", values(loss.clone().reshape([1]))),
        ("hidden", values(hidden)),
        ("mean", values(norm.running_mean.value_sync())),
        ("variance", unbiased),
        ("grad.images", values(images.grad(&grads).unwrap())),
        ("grad.weight", values(weight.grad(&grads).unwrap())),
        ("grad.gamma", values(norm.gamma.val().grad(&grads).unwrap())),
        ("grad.beta", values(norm.beta.val().grad(&grads).unwrap())),
        ("grad.head", values(head.grad(&grads).unwrap())),
        ("grad.bias", values(bias.grad(&grads).unwrap())),
    ];
    for (name, got) in results {
        let error = relative_error(&got, &golden.get(name).unwrap().values);
        println!("{name}: {error:.1e}");
        assert!(error < TOLERANCE, "{name}: relative error {error}");
    }
}
