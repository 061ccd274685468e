//! The bundled world, from one command to a detector that judges new images.

use serde_json::Value;

use crate::util::{run, text};

#[test]
fn the_demo_tells_what_its_network_knows() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("report");
    let json: Value = run(folder.path(), &["demo", "--out", text(&out), "--json"]).json();
    assert_eq!(json["id"]["n"], 1000);
    assert!(json["id"]["accuracy"].as_f64().unwrap() > 0.7, "{}", json["id"]);
    assert_eq!(json["skipped"], Value::Array(Vec::new()));
    let results = json["results"].as_array().unwrap();
    assert_eq!(results.len(), (20 + 5) * 6, "twenty detectors of images and five of words");
    assert_eq!(
        (&json["information"]["msp"], &json["information"]["mcm"]),
        (&"training-images".into(), &"static".into())
    );
    let mean = |set: &str| {
        let rows = results.iter().filter(|row| row["ood"] == set).map(|row| row["auroc"].as_f64().unwrap());
        rows.fold(0.0, f64::max)
    };
    for set in ["near", "flags", "symbols", "faces", "textures", "noise"] {
        assert!(mean(set) > 0.6, "no detector tells {set} apart: {}", mean(set));
    }
    let page = fs_err::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("data:image/png;base64,") && page.contains("<svg"));

    // The detector it leaves behind judges images of a set it has not seen.
    let detector = out.join("detector.safetensors");
    let score = ["score", "--detector", text(&detector), "--data", "world:sprites#noise", "--json"];
    let scored = run(folder.path(), &score).json();
    assert_eq!(scored["scores"].as_array().unwrap().len(), 500);
    assert!(scored["scores"][0]["is_ood"].is_boolean());
}
