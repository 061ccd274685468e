//! Checkpoint folders that ship with the program: small networks for Sprite World, by the layouts of the large ones.

use std::io;
use std::path::Path;

/// Writes captions, in BLIP-2's layout; `assets/README.md` has the commands that made this and the others.
pub const SPRITE_CAPTIONER: &str = "sprite-captioner";
/// Finds what words name, in GroundingDINO's layout.
pub const SPRITE_DETECTOR: &str = "sprite-detector";
/// Draws images, in Stable Diffusion's layout; its text encoder is the text tower of
/// [`SPRITE_CLIP`](crate::clip::SPRITE_CLIP).
pub const SPRITE_DIFFUSION: &str = "sprite-diffusion";

/// A checkpoint's files: where each lies below its folder, and its content.
#[derive(Debug)]
pub struct BundledCheckpoint {
    name: &'static str,
    files: &'static [(&'static str, &'static [u8])],
}

macro_rules! checkpoint {
    ($name:literal: $($file:literal)*) => {
        BundledCheckpoint {
            name: $name,
            files: &[$(($file, include_bytes!(concat!("../assets/", $name, "/", $file)))),*],
        }
    };
}

static CHECKPOINTS: &[BundledCheckpoint] = &[
    checkpoint!("sprite-captioner":
        "config.json" "preprocessor_config.json" "tokenizer.json" "tokenizer_config.json" "model.safetensors"),
    checkpoint!("sprite-detector":
        "config.json" "preprocessor_config.json" "vocab.txt" "tokenizer_config.json" "model.safetensors"),
    checkpoint!("sprite-diffusion":
        "model_index.json" "scheduler/scheduler_config.json"
        "unet/config.json" "unet/diffusion_pytorch_model.safetensors"
        "vae/config.json" "vae/diffusion_pytorch_model.safetensors"
        "text_encoder/config.json" "text_encoder/model.safetensors"
        "tokenizer/tokenizer.json" "tokenizer/tokenizer_config.json"),
];

/// The checkpoint of that name, if the program has it.
pub fn bundled_checkpoint(name: &str) -> Option<&'static BundledCheckpoint> {
    CHECKPOINTS.iter().find(|checkpoint| checkpoint.name == name)
}

impl BundledCheckpoint {
    /// The content of a file of the folder.
    pub(crate) fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.files.iter().find(|(file, _)| *file == name).map(|(_, content)| *content)
    }

    /// Writes the folder, as `open` or `load` of its kind of network reads it.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn unpack(&self, folder: &Path) -> io::Result<()> {
        for (file, content) in self.files {
            let path = folder.join(file);
            if let Some(parent) = path.parent() {
                fs_err::create_dir_all(parent)?;
            }
            fs_err::write(path, content)?;
        }
        Ok(())
    }
}
