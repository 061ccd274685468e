//! The backbones: one file per family, one line each in [`BACKBONES`].

mod cifar_resnet;
mod clip;
mod entry;
mod mnist_convnet;
mod resnet18_32x32;
mod sprite_resnet;
mod torchvision_resnet;
mod vit;

pub use entry::{Architecture, BackboneEntry, find};

/// Every backbone, in the order they are listed to the user.
pub static BACKBONES: &[&BackboneEntry] = &[
    &sprite_resnet::SPRITE_RESNET,
    &clip::SPRITE_CLIP,
    &mnist_convnet::MNIST_CONVNET,
    &cifar_resnet::RESNET20,
    &cifar_resnet::RESNET32,
    &cifar_resnet::RESNET44,
    &cifar_resnet::RESNET56,
    &cifar_resnet::RESNET110,
    &resnet18_32x32::RESNET18_32X32,
    &torchvision_resnet::RESNET18,
    &torchvision_resnet::RESNET34,
    &torchvision_resnet::RESNET50,
    &torchvision_resnet::RESNET101,
    &vit::VIT_TINY_PATCH16_224,
    &vit::VIT_SMALL_PATCH16_224,
    &clip::CLIP,
];
