//! Every sampler walks as diffusers' scheduler of that name does.

use std::collections::BTreeMap;
use std::path::Path;

use knownset_nn::diffusion::{Growth, Method, Prediction, SampleError, Sampler, Schedule, Spacing};

use crate::hashed::{golden, hashed, relative_error};

const TOLERANCE: f32 = 1e-4;
const STEPS: usize = 10;
const METHODS: [(&str, Method); 4] = [
    ("ddim", Method::Ddim { eta: 0.0 }),
    ("ddim.eta", Method::Ddim { eta: 0.7 }),
    ("pndm", Method::Pndm),
    ("euler", Method::Euler),
];

fn schedule(name: &str) -> (Schedule, Option<Method>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusion/schedulers");
    Schedule::open(&folder.join(format!("{name}.json"))).unwrap()
}

/// What `make_diffusion.py` calls `walk`: times, first scale, the network's inputs, and the sample after each step.
fn walk(mut sampler: Sampler) -> [Vec<f64>; 4] {
    let scale = sampler.first_scale();
    let mut sample: Vec<f64> = hashed("walk", 15).iter().map(|x| x * scale).collect();
    let (mut inputs, mut samples) = (Vec::new(), Vec::new());
    for step in 0.. {
        if sampler.time().is_none() {
            break;
        }
        inputs.extend(sample.iter().map(|x| x * sampler.input_scale()));
        let noise = sampler.is_random().then(|| hashed(&format!("noise {step}"), 15));
        sampler.step(&mut sample, &hashed(&format!("answer {step}"), 15), noise.as_deref());
        samples.extend_from_slice(&sample);
    }
    [sampler.times().to_vec(), vec![scale], inputs, samples]
}

#[test]
fn ten_steps_of_every_sampler_agree_with_diffusers() {
    let expected = golden("diffusion/schedulers/expected.safetensors");
    let mut compared = 0;
    for configuration in ["stable", "velocity", "cosine", "absent"] {
        let (schedule, method) = schedule(configuration);
        assert_eq!(method, Some(Method::Pndm), "the file's own");
        for (name, method) in METHODS {
            let got = walk(Sampler::new(&schedule, method, STEPS).unwrap());
            for (part, got) in ["timesteps", "scale", "inputs", "samples"].into_iter().zip(got) {
                let key = format!("{configuration}.{name}.{part}");
                let got: Vec<f32> = got.into_iter().map(|x| x as f32).collect();
                let expected = &expected.get(&key).unwrap().values;
                assert_eq!(got.len(), expected.len(), "{key}");
                let error = relative_error(&got, expected);
                println!("{key}: {error:.1e}");
                assert!(error < TOLERANCE, "{key}: relative error {error}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, expected.iter().count());
}

#[test]
fn times_are_diffusers_for_every_number_of_steps() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusion/schedulers/timesteps.json");
    let lists: BTreeMap<String, Vec<f64>> = serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap();
    assert!(lists.len() > 50);
    for (key, expected) in lists {
        let (spacing, steps) = key.split_once(' ').unwrap();
        let spacing = match spacing {
            "leading" => Spacing::Leading,
            "linspace" => Spacing::Even,
            _ => Spacing::Trailing,
        };
        let schedule = Schedule { spacing: Some(spacing), ..Schedule::default() };
        let sampler = Sampler::new(&schedule, Method::Ddim { eta: 0.0 }, steps.parse().unwrap()).unwrap();
        assert_eq!(sampler.times(), expected, "{key}");
    }
}

#[test]
fn a_perfect_answer_leads_to_the_final_sample() {
    // A network that knows the final sample s answers (x − √ᾱ s) / √(1 − ᾱ), or the velocity that this noise means.
    let end = [0.25, -0.5, 0.75];
    for prediction in [Prediction::Noise, Prediction::Velocity] {
        for (method, skips_runge_kutta, spacing, tolerance) in [
            (Method::Ddim { eta: 0.0 }, false, Spacing::Trailing, 1e-9),
            (Method::Euler, false, Spacing::Trailing, 1e-9),
            (Method::Pndm, true, Spacing::Leading, 0.02),
            (Method::Pndm, false, Spacing::Leading, 0.02),
        ] {
            let growth = Growth::Scaled(0.00085, 0.012);
            let spacing = Some(spacing);
            let ends_clean = Some(true);
            let schedule =
                Schedule { prediction, growth, skips_runge_kutta, spacing, ends_clean, ..Schedule::default() };
            let alphas = schedule.alphas();
            let mut sampler = Sampler::new(&schedule, method, 20).unwrap();
            let mut sample = [1.5, -0.3, 0.1].map(|x| x * sampler.first_scale());
            while let Some(time) = sampler.time() {
                let alpha = alphas[time as usize];
                let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());
                let input = sample.map(|x| x * sampler.input_scale());
                let answer: Vec<f64> = (0..3)
                    .map(|i| {
                        let epsilon = (input[i] - signal * end[i]) / noise;
                        if prediction == Prediction::Noise { epsilon } else { signal * epsilon - noise * end[i] }
                    })
                    .collect();
                sampler.step(&mut sample, &answer, None);
            }
            for (got, end) in sample.iter().zip(end) {
                assert!((got - end).abs() < tolerance, "{method:?} {prediction:?}: {got} instead of {end}");
            }
        }
    }
}

#[test]
fn steps_that_cannot_be_are_refused() {
    let plain = Schedule::default();
    let ddim = Method::Ddim { eta: 0.0 };
    let error = |schedule: &Schedule, method, steps| Sampler::new(schedule, method, steps).unwrap_err();
    assert_eq!(error(&plain, ddim, 0), SampleError::Steps { steps: 0, least: 1, most: 1000 });
    assert_eq!(error(&plain, Method::Euler, 1001), SampleError::Steps { steps: 1001, least: 1, most: 1000 });
    assert_eq!(error(&plain, Method::Pndm, 3), SampleError::Steps { steps: 3, least: 4, most: 1000 });
    assert_eq!(error(&plain, Method::Ddim { eta: 1.5 }, 3), SampleError::Eta { eta: 1.5 });
    let far = Schedule { offset: 1, ..plain };
    assert_eq!(error(&far, ddim, 1000), SampleError::Time { time: 1000.0, times: 1000 });
    assert!(Sampler::new(&far, ddim, 999).is_ok());
    let one = Schedule { times: 1, ..Schedule::default() };
    for method in [ddim, Method::Euler] {
        assert_eq!(Sampler::new(&one, method, 1).unwrap().times(), [0.0]);
    }
}

#[test]
fn a_scheduler_that_is_not_understood_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scheduler_config.json");
    for (content, message) in [
        (r#"{"beta_schedule": "sigmoid"}"#, "beta_schedule is \"sigmoid\", only linear"),
        (r#"{"beta_start": 0.5, "beta_end": 0.1}"#, "beta_start 0.5 and beta_end 0.1 are not rising"),
        (
            r#"{"num_train_timesteps": 1000000000000}"#,
            "num_train_timesteps has 1000000000000, expected a whole number from 1 to",
        ),
        (r#"{"prediction_type": "sample"}"#, "prediction_type is \"sample\""),
        (r#"{"timestep_spacing": 3}"#, "timestep_spacing is 3"),
        (r#"{"trained_betas": [0.1]}"#, "trained_betas is [0.1], only null"),
        (r#"{"use_karras_sigmas": true}"#, "use_karras_sigmas is true, only false"),
        (r#"{"thresholding": true}"#, "thresholding is true"),
        ("[]", "not an object"),
        ("{", "EOF"),
    ] {
        fs_err::write(&path, content).unwrap();
        let error = Schedule::open(&path).unwrap_err().to_string();
        assert!(error.contains(message) && error.contains("scheduler_config.json"), "{error}");
    }
    fs_err::write(&path, "{}").unwrap();
    assert_eq!(Schedule::open(&path).unwrap(), (Schedule::default(), None));
}
