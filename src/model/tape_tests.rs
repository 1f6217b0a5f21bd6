use tch::{Device, Kind, Tensor, nn};

use super::Tape;
use crate::model::layer;

/// Layers with the mask's positions carry it, others do not, and none does after `unmask`.
#[test]
fn layers_with_its_positions_carry_a_mask() {
    let store = nn::VarStore::new(Device::Cpu);
    let path = store.root();
    let (table, steps) = (layer::embedding(&path / "table", 5, 4), layer::linear(&path / "steps", 4, 4));
    let (norm, conv) = (layer::layer_norm(&path / "norm", &[4]), layer::conv1d(&path / "conv", 4, 6, 2, Default::default()));
    let (scale, last) = (layer::group_norm(&path / "scale", 2, 4), layer::linear(&path / "last", 4, 3));
    let tokens = Tensor::from_slice(&[1i64, 2, 0, 3, 0, 0]).view([2, 3]);
    let mask = tokens.not_equal(0);
    let mut tape = Tape::recording();
    let before = tape.embedding("before", &table, &tokens);
    tape.mask(&mask);
    let x = tape.embedding("table", &table, &tokens) + before;
    let x = tape.linear("steps", &steps, &x);
    let x = tape.layer_norm("norm", &norm, &x);
    let along = tape.group_norm("scale", &scale, &x.transpose(1, 2)); // [n, 4, t]
    let _ = tape.conv1d("shorter", &conv, &along);
    let pooled = x.mean_dim([1i64].as_slice(), false, None::<Kind>);
    let _ = tape.linear("pooled", &last, &pooled);
    tape.unmask();
    let _ = tape.linear("after", &last, &x);
    let carried = |name: &str| match name {
        "table" | "steps" | "norm" | "scale" => true,
        "before" | "shorter" | "pooled" | "after" => false,
        other => panic!("{other} is not expected"),
    };
    let records = tape.into_records();
    assert_eq!(records.len(), 8);
    for record in records {
        assert_eq!(record.mask.as_ref() == Some(&mask), carried(&record.name), "{}", record.name);
        assert_eq!(record.mask.is_some(), carried(&record.name), "{}", record.name);
    }
}
