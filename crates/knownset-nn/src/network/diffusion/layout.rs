//! Feature maps in one of two layouts, and what the networks do with them: on the CPU in f32, where it is faster, channels
//! last and through operations of our own; elsewhere channels first and through burn's.

use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, PaddingConfig2d};
use burn::tensor::activation::silu;
use burn::tensor::module::interpolate;
use burn::tensor::ops::{InterpolateMode, InterpolateOptions};
use burn::tensor::{DType, Device, Tensor};

use crate::network::maps::{Grouped, Sliding, convolution, enlargement, normalisation};

/// Most channels, and most pixels of an image, of a network that runs through our own operations without gradients: these
/// give an image to one thread and rearrange their weights at every call, which is too much for larger ones.
const WIDEST: usize = 256;
const LARGEST: usize = 1 << 13;

/// A batch of feature maps.
#[derive(Debug, Clone)]
pub(super) enum Maps {
    /// `[n, h, w, c]`.
    Last(Tensor<4>),
    /// `[n, c, h, w]`.
    First(Tensor<4>),
}

impl Maps {
    /// Images `[n, c, h, w]` for a network whose levels have these numbers of channels.
    pub(super) fn new(images: Tensor<4>, levels: impl Iterator<Item = usize> + Clone) -> Self {
        let [_, _, height, width] = images.dims();
        Self::sized(images, [height, width], levels)
    }

    /// The same where maps become as large as `sides`.
    pub(super) fn sized(
        images: Tensor<4>,
        [height, width]: [usize; 2],
        mut levels: impl Iterator<Item = usize> + Clone,
    ) -> Self {
        let device = images.device();
        let cpu = device.clone().without_autodiff() == Device::flex() && images.dtype() == DType::F32;
        let small = height * width <= LARGEST && levels.clone().all(|channels| channels <= WIDEST);
        let ours = cpu && levels.all(|channels| channels.is_multiple_of(16)) && (small || device.is_autodiff());
        if ours { Self::Last(images.permute([0, 2, 3, 1])) } else { Self::First(images) }
    }

    /// As images `[n, c, h, w]`.
    pub(super) fn images(self) -> Tensor<4> {
        match self {
            Self::Last(maps) => maps.permute([0, 3, 1, 2]),
            Self::First(maps) => maps,
        }
    }

    /// Height and width.
    pub(super) fn sides(&self) -> [usize; 2] {
        match self {
            Self::Last(maps) => [maps.dims()[1], maps.dims()[2]],
            Self::First(maps) => [maps.dims()[2], maps.dims()[3]],
        }
    }

    pub(super) fn convolved(self, layer: &Conv2d) -> Self {
        match (self, &layer.bias) {
            (Self::Last(maps), Some(bias)) => {
                let lead = match layer.padding {
                    PaddingConfig2d::Explicit(top, ..) => top,
                    PaddingConfig2d::Same | PaddingConfig2d::Valid => layer.kernel_size[0] / 2,
                };
                let sliding = Sliding { stride: layer.stride[0], lead };
                Self::Last(convolution(maps, layer.weight.val(), bias.val(), sliding))
            }
            (maps, _) => Self::First(layer.forward(maps.images())),
        }
    }

    /// Normalised, then SiLU.
    pub(super) fn activated(self, norm: &GroupNorm) -> Self {
        match self.normal(norm, true) {
            Self::First(maps) => Self::First(silu(maps)),
            last @ Self::Last(_) => last,
        }
    }

    /// Normalised.
    pub(super) fn normalised(self, norm: &GroupNorm) -> Self {
        self.normal(norm, false)
    }

    fn normal(self, norm: &GroupNorm, silu: bool) -> Self {
        match (self, &norm.gamma, &norm.beta) {
            (Self::Last(maps), Some(gamma), Some(beta)) => {
                let grouped = Grouped { groups: norm.num_groups, epsilon: norm.epsilon, silu };
                Self::Last(normalisation(maps, gamma.val(), beta.val(), grouped))
            }
            (maps, ..) => Self::First(norm.forward(maps.images())),
        }
    }

    /// The sum with maps of the same shape.
    pub(super) fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Last(a), Self::Last(b)) => Self::Last(a + b),
            (a, b) => Self::First(a.images() + b.images()),
        }
    }

    /// The sum with a vector of every image `[n, c]` at each of its pixels.
    pub(super) fn plus_vectors(self, vectors: Tensor<2>) -> Self {
        match self {
            Self::Last(maps) => Self::Last(maps + vectors.unsqueeze_dims::<4>(&[1, 2])),
            Self::First(maps) => Self::First(maps + vectors.unsqueeze_dims::<4>(&[2, 3])),
        }
    }

    /// These channels, then those of others.
    pub(super) fn beside(self, others: Self) -> Self {
        match (self, others) {
            (Self::Last(a), Self::Last(b)) => Self::Last(Tensor::cat(vec![a, b], 3)),
            (a, b) => Self::First(Tensor::cat(vec![a.images(), b.images()], 1)),
        }
    }

    /// Pixels repeated until there are as many.
    pub(super) fn enlarged(self, sides: [usize; 2]) -> Self {
        match self {
            Self::Last(maps) => Self::Last(enlargement(maps, sides)),
            Self::First(maps) => {
                let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size(sides);
                Self::First(interpolate(maps, options))
            }
        }
    }

    /// Pixels as tokens `[n, h w, c]`.
    pub(super) fn tokens(self) -> Tensor<3> {
        match self {
            Self::Last(maps) => maps.flatten::<3>(1, 2),
            Self::First(maps) => maps.flatten::<3>(2, 3).swap_dims(1, 2),
        }
    }

    /// The sum with tokens `[n, h w, c]`, each at its pixel.
    pub(super) fn plus_tokens(self, tokens: Tensor<3>) -> Self {
        match self {
            Self::Last(maps) => {
                let shape = maps.dims();
                Self::Last(maps + tokens.reshape(shape))
            }
            Self::First(maps) => {
                let shape = maps.dims();
                Self::First(maps + tokens.swap_dims(1, 2).reshape(shape))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
    use burn::nn::conv::Conv2dConfig;
    use burn::tensor::Gradients;

    use super::super::attention::{PixelAttention, SpatialTransformer};
    use super::super::residual::{Downsample, Norm, Residual, Upsample, conv};
    use super::*;
    use crate::network::testing::{assert_near, loss, numbers};

    /// Numbers of no pattern for every parameter.
    struct Fill(usize);

    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let salt = self.0;
            // Small enough that sums of many stay in the range where rounding is fine.
            param.map(|tensor| (numbers(tensor.dims(), salt) * 0.3).detach().require_grad())
        }
    }

    /// Every parameter's gradient, in a row.
    struct All<'a>(&'a Gradients, Vec<Tensor<1>>);

    impl ModuleVisitor for All<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("every parameter has a gradient");
            self.1.push(gradient.reshape([-1]));
        }
    }

    /// Holds results and gradients in one layout against those in the other.
    fn check<M: Module>(what: &str, module: M, shape: [usize; 4], run: impl Fn(&M, Maps) -> Maps) {
        let module = module.map(&mut Fill(10));
        let both = [true, false].map(|last| {
            let images = numbers(shape, 1);
            let maps =
                if last { Maps::Last(images.clone().permute([0, 2, 3, 1])) } else { Maps::First(images.clone()) };
            let output = run(&module, maps);
            assert_eq!(matches!(output, Maps::Last(_)), last, "{what}");
            let output = output.images();
            let gradients = loss(output.clone()).backward();
            let mut all = All(&gradients, Vec::new());
            module.visit(&mut all);
            (output, images.grad(&gradients).expect("the images have a gradient"), all.1)
        });
        let [ours, theirs] = both;
        assert_near(&format!("{what}: result"), ours.0, theirs.0);
        assert_near(&format!("{what}: gradient of the images"), ours.1, theirs.1);
        // Together: that of a key's bias is nothing but rounding.
        let [ours, theirs] = [ours.2, theirs.2].map(|gradients| Tensor::cat(gradients, 0));
        assert_near(&format!("{what}: gradients of the parameters"), ours, theirs);
    }

    #[test]
    fn convolutions_and_their_gradients_are_burns() {
        let device = Device::flex().autodiff();
        for (inputs, outputs, kernel) in [(3, 16, 3), (32, 16, 1), (16, 48, 3), (16, 3, 3), (8, 8, 1), (32, 20, 3)] {
            let layer = conv(inputs, outputs, kernel, &device);
            let what = format!("{inputs} to {outputs}, {kernel}x{kernel}");
            check(&what, layer, [3, inputs, 5, 6], |layer, maps| maps.convolved(layer));
        }
        // More images than are summed at once, and more pixels than a block's.
        check("many", conv(4, 16, 3, &device), [11, 4, 12, 13], |layer, maps| maps.convolved(layer));
        let halving = |maps: Maps, down: &Downsample| down.forward(maps);
        for shape in [[2, 16, 6, 8], [9, 16, 2, 2]] {
            check("centred", Downsample::centred(16, &device), shape, |down, maps| halving(maps, down));
            check("cornered", Downsample::cornered(16, &device), shape, |down, maps| halving(maps, down));
        }
        check("centred, odd", Downsample::centred(16, &device), [2, 16, 5, 7], |down, maps| halving(maps, down));
        let wide = Conv2dConfig::new([5, 16], [7, 7]).with_stride([2, 2]);
        let wide = wide.with_padding(PaddingConfig2d::Explicit(3, 3, 3, 3)).init(&device);
        check("7x7", wide, [2, 5, 9, 12], |layer, maps| maps.convolved(layer));
    }

    #[test]
    fn normalisations_and_their_gradients_are_burns() {
        let device = Device::flex().autodiff();
        for (channels, groups) in [(16, 16), (32, 8), (48, 3), (64, 1), (80, 20)] {
            let norm = || Norm { groups, epsilon: 1e-5 }.init(channels, &device);
            let what = format!("{channels} in {groups} groups");
            check(&what, norm(), [3, channels, 4, 3], |norm, maps| maps.normalised(norm));
            check(&format!("{what}, SiLU"), norm(), [2, channels, 5, 7], |norm, maps| maps.activated(norm));
        }
        // More values than a block's.
        let norm = Norm { groups: 4, epsilon: 1e-6 }.init(32, &device);
        check("large", norm, [2, 32, 40, 41], |norm, maps| maps.activated(norm));
    }

    #[test]
    fn blocks_and_their_gradients_are_the_same_in_both_layouts() {
        let device = Device::flex().autodiff();
        let norm = Norm { groups: 4, epsilon: 1e-5 };
        let time = numbers([2, 12], 3).detach();
        check("residual", Residual::new(16, 32, Some(12), norm, &device), [2, 16, 4, 5], |block, maps| {
            block.forward(maps, Some(&time))
        });
        check("residual, same", Residual::new(16, 16, None, norm, &device), [2, 16, 4, 5], |block, maps| {
            block.forward(maps.clone(), None).beside(maps)
        });
        check("doubled", Upsample::new(16, &device), [2, 16, 3, 4], |up, maps| up.forward(maps, [6, 8]));
        check("enlarged", Upsample::new(16, &device), [2, 16, 3, 4], |up, maps| up.forward(maps, [5, 7]));
        let context = numbers([2, 7, 24], 4).detach();
        let transformer = SpatialTransformer::new(32, 24, 4, 1, 4, &device);
        check("transformer", transformer, [2, 32, 3, 4], |block, maps| block.forward(maps, &context));
        let attention = PixelAttention::new(32, norm, &device);
        check("attention", attention, [2, 32, 3, 4], PixelAttention::forward);
    }

    #[test]
    fn neither_threads_nor_neighbours_change_a_bit() {
        let device = Device::flex().autodiff();
        let block = Residual::new(16, 32, None, Norm { groups: 8, epsilon: 1e-5 }, &device).map(&mut Fill(10));
        let run = |threads: usize, count: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let images = numbers([19, 16, 24, 24], 1);
                let maps = Maps::Last(images.clone().narrow(0, 0, count).permute([0, 2, 3, 1]));
                let output = block.forward(maps, None).images();
                let gradients = loss(output.clone()).backward();
                let mut all = All(&gradients, vec![images.grad(&gradients).unwrap().reshape([-1])]);
                block.visit(&mut all);
                let bits = |tensor: Tensor<1>| tensor.into_data().iter::<f32>().map(f32::to_bits).collect::<Vec<u32>>();
                (bits(output.reshape([-1])), all.1.into_iter().map(bits).collect::<Vec<_>>())
            })
        };
        let (output, gradients) = run(1, 19);
        assert_eq!((output.clone(), gradients), run(3, 19));
        let (fewer, _) = run(2, 5);
        assert_eq!(fewer, output[..fewer.len()]);
    }

    #[test]
    fn large_networks_run_through_burns_operations() {
        let images = |side: usize, device: &Device| Tensor::<4>::zeros([1, 4, side, side], device);
        let last = |maps: Maps| matches!(maps, Maps::Last(_));
        let (plain, recording) = (Device::flex(), Device::flex().autodiff());
        assert!(last(Maps::new(images(64, &plain), [64, 128].into_iter())));
        assert!(!last(Maps::new(images(64, &plain), [320, 640].into_iter())));
        assert!(!last(Maps::new(images(128, &plain), [64, 128].into_iter())));
        assert!(last(Maps::new(images(128, &recording), [320, 640].into_iter())));
        assert!(!last(Maps::new(images(8, &recording), [24].into_iter())));
        assert!(!last(Maps::new(images(8, &plain).cast(burn::tensor::FloatDType::F16), [32].into_iter())));
    }
}
