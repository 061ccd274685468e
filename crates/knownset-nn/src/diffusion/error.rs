//! What can be wrong with a request for samples.

/// Samples that cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// An array of a shape that does not go with the network or the other arrays.
    #[error("{array} has shape {shape:?}, expected {expected}")]
    Shape {
        /// Which array.
        array: &'static str,
        /// Its shape.
        shape: Vec<usize>,
        /// What was expected.
        expected: String,
    },
    /// A number of steps that the schedule does not have.
    #[error("{steps} steps, expected {least} to {most}")]
    Steps {
        /// Steps asked for.
        steps: usize,
        /// The least there can be.
        least: usize,
        /// The most there can be.
        most: usize,
    },
    /// A step at a time outside the schedule, by an offset too large for that many steps.
    #[error("a step at time {time} of a schedule that ends at {}", times - 1)]
    Time {
        /// The step's time.
        time: f64,
        /// Number of times of the schedule.
        times: usize,
    },
    /// More fresh noise than there can be.
    #[error("eta is {eta}, expected 0 to 1")]
    Eta {
        /// The share asked for.
        eta: f64,
    },
    /// A sample that overflowed, or was no number to begin with.
    #[error("image {image}: not a finite number after step {step}")]
    NotFinite {
        /// Which image, from 0.
        image: usize,
        /// Which step, from 1; 0 for the noise itself.
        step: usize,
    },
}
