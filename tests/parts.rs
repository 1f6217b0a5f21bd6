//! Part of a model: some layers, a chosen class, token or region of pixels; against columns of the whole gradient and plain autograd.

use ascribe::model::layer;
use ascribe::prelude::*;
use ascribe::tch::{Device, Kind, Tensor};

use crate::layers::noise;
use crate::tasks::{self, Folder, assert_close, clusters, says};

/// Positions in the whole gradient of the parameters whose names begin with one of these.
fn columns(task: &Task, beginnings: &[&str]) -> Tensor {
    let snapshot = task.snapshot(0).unwrap();
    let mut columns = Vec::new();
    for entry in snapshot.layout().entries() {
        if beginnings.iter().any(|beginning| entry.name.starts_with(beginning)) {
            columns.extend(entry.offset..entry.offset + entry.len);
        }
    }
    Tensor::from_slice(&columns)
}

/// A small GPT on tokens that it should continue.
fn gpt() -> (Task, Dataset) {
    let tokens: Vec<i64> = (0..8 * 6).map(|i| (i * i + i / 5) % 7).collect();
    let tokens = Tensor::from_slice(&tokens).view([8, 6]);
    let data = Dataset::new(tokens.shallow_clone(), tokens).unwrap();
    let options = GptOptions { vocab: 7, context: 6, width: 8, heads: 2, layers: 2, bias: true, ..default() };
    let task = Task::new(move |p: &nn::Path| Gpt::new(p, options)).with_objective(NextToken::default());
    (task.train(&Trainer { epochs: 2, ..default() }, &data).unwrap(), data)
}

#[test]
fn gradients_of_layers_are_columns_of_the_whole() {
    let (task, data) = gpt();
    let whole = task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap().dense().unwrap();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["block1"], &["block1."]),
        (&["block*.attention"], &["block1.attention.", "block2.attention."]),
        (&["token"], &["token."]),
        (&["place", "norm"], &["place.", "norm."]),
        (&["block2.norm1.weight"], &["block2.norm1.weight"]),
        (&["block1.expand.bias"], &["block1.expand.bias"]),
    ];
    for (layers, beginnings) in cases {
        let part = task.clone().with_layers(layers).unwrap();
        let columns = columns(&task, beginnings);
        let expected = whole.index_select(1, &columns);
        let gradients = part.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap();
        assert_close(&gradients.dense().unwrap(), &expected, 1e-5, &layers.join(", "));
        assert_close(&gradients.gram(&gradients).unwrap(), &expected.matmul(&expected.transpose(0, 1)), 1e-5, &layers.join(", "));
        assert_close(
            &part.snapshot(0).unwrap().outputs(&data).unwrap(),
            &task.snapshot(0).unwrap().outputs(&data).unwrap(),
            0.0,
            "outputs",
        );
    }
}

#[test]
fn every_method_attributes_to_the_layers_alone() {
    let (train, test) = (clusters(24, 1), clusters(5, 2));
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap().last();
    let last = task.clone().with_layers(&["fc2"]).unwrap();
    let columns = columns(&task, &["fc2."]);
    let rows = |data: &Dataset| {
        task.snapshot(0).unwrap().gradients(Of::Objective, data).unwrap().dense().unwrap().index_select(1, &columns)
    };
    let (g, h) = (rows(&train), rows(&test));
    let dot = GradDot::default().fit(&last, &train).unwrap();
    assert_close(dot.score(&test).unwrap().tensor(), &h.matmul(&g.transpose(0, 1)), 1e-5, "GradDot");
    assert_close(
        &dot.self_scores().unwrap(),
        &g.square().sum_dim_intlist([1i64].as_slice(), false, None::<Kind>),
        1e-5,
        "self-influence",
    );
    let unit = |x: &Tensor| x / x.norm_scalaropt_dim(2.0, [1i64].as_slice(), true);
    let cos = GradCos::default().fit(&last, &train).unwrap().score(&test).unwrap();
    assert_close(cos.tensor(), &unit(&h).matmul(&unit(&g).transpose(0, 1)), 1e-5, "GradCos");
    // Influence: the block of the Hessian, by finite differences of the whole gradient in the layer's own parameters.
    let damping = 0.5;
    let explicit = Influence::new(Explicit { damping: Damping::Absolute(damping), ..default() });
    let found = explicit.fit(&last, &train).unwrap().score(&test).unwrap();
    let hessian = block(&task, &train, &columns);
    let matrix = hessian + Tensor::eye(columns.size()[0], (Kind::Double, Device::Cpu)) * damping;
    let right = g.to_kind(Kind::Double).transpose(0, 1);
    let expected = h.to_kind(Kind::Double).matmul(&Tensor::linalg_solve(&matrix, &right, true));
    assert_close(found.tensor(), &expected, 2e-3, "influence");
    // All other methods run, and see no other parameters: what they project or invert has the size of the layer.
    for method in tasks::methods() {
        let name = method.name();
        match method.fit(&last, &train) {
            Ok(fitted) => {
                let scores = fitted.score(&test).unwrap();
                assert_eq!((scores.n_test(), scores.n_train()), (5, 24), "{name}");
            }
            Err(error) => assert!(name.starts_with("Data value embedding"), "{name}: {error}"),
        }
    }
    says(DataValueEmbedding::default().fit(&last, &train), &["DataValueEmbedding", "without with_layers"]);
}

/// Minus the mean Hessian of the objective in some parameters, `[k, k]`, by central differences of its gradient.
fn block(task: &Task, train: &Dataset, columns: &Tensor) -> Tensor {
    let checkpoint = &task.checkpoints()[0];
    let layout = task.snapshot(0).unwrap().layout().clone();
    let step = 2e-2;
    let slope = |column: i64, by: f64| {
        let moved = checkpoint.tensors().iter().map(|(name, tensor)| {
            let tensor = tensor.copy();
            if let Some(entry) =
                layout.entries().iter().find(|e| e.name == *name && (e.offset..e.offset + e.len).contains(&column))
            {
                let _ = tensor.view([-1]).get(column - entry.offset).g_add_scalar_(by);
            }
            (name.clone(), tensor)
        });
        let moved = Checkpoint::new(0, 0, 0.0, moved.collect());
        let task = task.clone().with_checkpoints(vec![moved]).unwrap();
        let rows = task.snapshot(0).unwrap().gradients(Of::Objective, train).unwrap().dense().unwrap();
        rows.index_select(1, columns).to_kind(Kind::Double).mean_dim([0i64].as_slice(), false, None::<Kind>)
    };
    let rows: Vec<Tensor> =
        Vec::<i64>::try_from(columns).unwrap().into_iter().map(|c| (slope(c, -step) - slope(c, step)) / (2.0 * step)).collect();
    Tensor::stack(&rows, 0)
}

#[test]
fn training_and_retraining_are_of_all_layers() {
    let train = clusters(12, 1);
    let (task, last) = (tasks::logistic(), tasks::logistic().with_layers(&["linear.bias"]).unwrap());
    let trained = [task.clone(), last.clone()].map(|task| task.train(&tasks::trainer(), &train).unwrap());
    let weight = |task: &Task| task.checkpoints()[0].tensor("linear.weight").unwrap().shallow_clone();
    assert!(weight(&trained[0]).equal(&weight(&trained[1])), "the same training");
    let truth = |task: &Task| {
        let task = Newton { penalty: 0.1, ..default() }.train(task, &train).unwrap();
        LeaveOneOut { newton: Newton { penalty: 0.1, ..default() } }.score(&task, &train, &train, &[0, 5]).unwrap()
    };
    assert_close(truth(&last).tensor(), truth(&task).tensor(), 1e-6, "leave-one-out");
}

#[test]
fn layers_are_named_and_checked() {
    let task = tasks::mlp();
    says(task.clone().with_layers(&["fc3"]), &["layer fc3", "no parameter's name begins so (nearest: fc1.bias)"]);
    says(task.clone().with_layers(&["fc"]), &["layer fc", "Task::parameters"]);
    says(task.clone().with_layers(&[]), &["at least one"]);
    let last = task.clone().with_layers(&["fc2"]).unwrap();
    assert!(format!("{last:?}").contains("layers fc2"), "{last:?}");
    let table = last.parameters().unwrap();
    let column = |name: &str| table.column(name).unwrap();
    let attributed: Vec<(String, bool)> = column("parameter")
        .str()
        .unwrap()
        .iter()
        .flatten()
        .map(str::to_string)
        .zip(column("attributed").bool().unwrap().iter().flatten())
        .collect();
    assert_eq!(attributed.len(), 4);
    assert!(attributed.iter().all(|(name, attributed)| *attributed == name.starts_with("fc2")), "{attributed:?}");
    assert_eq!(column("numbers").i64().unwrap().iter().flatten().sum::<i64>(), 51);
    // A second choice replaces the first.
    let first = last.with_layers(&["fc1.weight"]).unwrap();
    let train = clusters(6, 1);
    assert_eq!(first.train(&tasks::trainer(), &train).unwrap().snapshot(0).unwrap().p(), 24);
}

#[test]
fn a_store_is_of_the_layers_it_was_recorded_for() {
    let (folder, train, test) = (Folder::new("part-store"), clusters(24, 1), clusters(5, 2));
    let task = tasks::mlp().train(&tasks::trainer(), &train).unwrap();
    let last = task.clone().with_layers(&["fc2"]).unwrap();
    let store = Store::record(&folder.0, &last, &train, &default()).unwrap();
    let expected = GradDot::default().fit(&last, &train).unwrap().score(&test).unwrap();
    let stored = last.clone().with_store(&store, &train).unwrap();
    let found = GradDot::default().fit(&stored, &train).unwrap().score(&test).unwrap();
    assert_close(found.tensor(), expected.tensor(), 1e-6, "scores from the store");
    says(task.with_store(&store, &train), &["fc1"]);
    says(stored.with_layers(&["fc1"]), &["reads a store", "choose the layers first"]);
}

/// Frozen weights of a layer whose bias is attributed to, and the other way round, in every kind of layer.
#[test]
fn weights_and_biases_apart() {
    let data = Dataset::new(noise(&[5, 1, 6, 6], 1), Tensor::from_slice(&[0i64, 1, 2, 0, 1])).unwrap();
    let task = Task::new(|p: &nn::Path| {
        let conv = layer::conv2d(p / "conv", 1, 4, 3, Default::default());
        let (norm, last) = (layer::layer_norm(&(p / "norm"), &[64]), layer::linear(p / "last", 64, 3));
        move |x: &Tensor, tape: &mut Tape| {
            let hidden = tape.conv2d("conv", &conv, x).tanh().flatten(1, -1);
            let normed = tape.layer_norm("norm", &norm, &hidden);
            tape.linear("last", &last, &normed)
        }
    });
    let task = task.train(&Trainer { epochs: 1, ..default() }, &data).unwrap();
    let whole = task.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap().dense().unwrap();
    for name in ["conv.weight", "conv.bias", "norm.weight", "norm.bias", "last.weight", "last.bias"] {
        let part = task.clone().with_layers(&[name]).unwrap();
        let gradients = part.snapshot(0).unwrap().gradients(Of::Objective, &data).unwrap();
        let expected = whole.index_select(1, &columns(&task, &[name]));
        assert_close(&gradients.dense().unwrap(), &expected, 1e-5, name);
        assert_close(&gradients.gram(&gradients).unwrap(), &expected.matmul(&expected.transpose(0, 1)), 1e-5, name);
        assert_close(&gradients.norms().unwrap(), &expected.norm_scalaropt_dim(2.0, [1i64].as_slice(), false), 1e-5, name);
    }
}

fn slope(measurement: &dyn Measurement, outputs: &Tensor, targets: &Tensor) -> Tensor {
    let outputs = outputs.detach().copy().set_requires_grad(true);
    measurement.check(&outputs, targets).unwrap();
    let value = measurement.measure(&outputs, targets).sum(None::<Kind>);
    Tensor::f_run_backward(&[value], &[outputs], false, false).unwrap().remove(0)
}

#[test]
fn a_chosen_class_is_measured_whatever_the_target() {
    let outputs = noise(&[4, 3], 1);
    let targets = Tensor::from_slice(&[0i64, 1, 2, 2]);
    let chosen = Tensor::from_slice(&[1i64; 4]);
    let pairs: [(Box<dyn Measurement>, OfClass); 3] = [
        (Box::new(Logit), OfClass::new(Logit, 1)),
        (Box::new(Margin), OfClass::new(Margin, 1)),
        (Box::new(LogLikelihood), OfClass::new(LogLikelihood, 1)),
    ];
    for (plain, of_class) in &pairs {
        let name = of_class.name();
        assert_close(&of_class.measure(&outputs, &targets), &plain.measure(&outputs, &chosen), 0.0, &name);
        assert_close(&slope(of_class, &outputs, &targets), &slope(plain.as_ref(), &outputs, &chosen), 0.0, &name);
        assert_close(&of_class.residual(&outputs, &targets).unwrap(), &plain.residual(&outputs, &chosen).unwrap(), 0.0, &name);
        assert!(name.ends_with("of class 1"), "{name}");
    }
    // The logit's slope in the outputs is one at the class and zero elsewhere.
    let ones = Tensor::zeros([4, 3], (Kind::Float, Device::Cpu));
    let _ = ones.select(1, 1).fill_(1.0);
    assert_close(&slope(&OfClass::new(Logit, 1), &outputs, &targets), &ones, 0.0, "one output");
    says(OfClass::new(Logit, 3).check(&outputs, &targets), &["OfClass.class", "0 to 2", "got 3"]);
    says(OfClass::new(Logit, -1).check(&outputs, &targets), &["OfClass.class", "got -1"]);
    // Scores of a chosen class for all classes are a row each of the Jacobian.
    let (train, test) = (clusters(24, 1), clusters(5, 2));
    let task = tasks::logistic().train(&tasks::trainer(), &train).unwrap().last();
    let gradients = |class: i64| {
        let task = task.clone().with_measurement(OfClass::new(Logit, class));
        task.snapshot(0).unwrap().gradients(Of::Measurement, &test).unwrap().dense().unwrap()
    };
    let entries = task.snapshot(0).unwrap().layout().entries().to_vec();
    let weight = entries.iter().find(|entry| entry.name == "linear.weight").unwrap();
    for class in 0..3 {
        let rows = gradients(class).narrow(1, weight.offset, weight.len).view([5, 3, 4]);
        assert_close(&rows.select(1, class), test.inputs(), 1e-6, "the input itself");
        assert_eq!(rows.select(1, (class + 1) % 3).abs().max().double_value(&[]), 0.0);
    }
}

#[test]
fn a_chosen_token_at_a_chosen_position() {
    let logits = noise(&[2, 4, 5], 1);
    let targets = Tensor::from_slice(&[1i64, 2, -100, 4, 0, 1, 2, 3]).view([2, 4]);
    let token = Masked::token(1, 3);
    let expected = logits.log_softmax(-1, None::<Kind>).select(1, 1).select(1, 3);
    assert_close(&token.measure(&logits, &targets), &expected, 1e-6, "its log-likelihood");
    let found = slope(&token, &logits, &targets);
    assert_eq!(found.index_select(1, &Tensor::from_slice(&[0i64, 2, 3])).abs().max().double_value(&[]), 0.0);
    // An ignored position stays ignored.
    let ignored = Masked::token(2, 3).measure(&logits, &targets);
    assert!(ignored.double_value(&[0]) == 0.0 && ignored.double_value(&[1]) < 0.0);
    // After a prompt: position 1 of what follows is told by the logits of position 1.
    let next = NextToken::new(Masked::token(1, 3));
    assert_close(&next.measure(&logits, &Tensor::zeros([2, 4], (Kind::Int64, Device::Cpu))), &expected, 1e-6, "the next token");
    says(Masked::token(1, 5).check(&logits, &targets), &["OfClass.class", "0 to 4", "got 5"]);
}

#[test]
fn a_region_of_pixels_is_all_that_is_measured() {
    let (outputs, targets) = (noise(&[3, 2, 5, 6], 1), noise(&[3, 2, 5, 6], 2));
    let region = Region::new(NegativeSquaredError, 1..4, 2..6);
    let part = |x: &Tensor| x.narrow(2, 1, 3).narrow(3, 2, 4);
    let error = (part(&outputs) - part(&targets)).square().flatten(1, -1).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
    assert_close(&region.measure(&outputs, &targets), &-error, 1e-6, "squared error");
    let expected = outputs.zeros_like();
    part(&expected).copy_(&(-(part(&outputs) - part(&targets)) * 2.0));
    assert_close(&slope(&region, &outputs, &targets), &expected, 1e-6, "slope");
    assert_eq!(region.name(), "negative squared error of rows 1..4, columns 2..6");
    // Regions that tile the picture sum to the whole.
    let whole = NegativeSquaredError.measure(&outputs, &targets);
    let tiles: Vec<Tensor> = [(0..2, 0..6), (2..5, 0..3), (2..5, 3..6)]
        .map(|(rows, columns)| Region::new(NegativeSquaredError, rows, columns).measure(&outputs, &targets))
        .into();
    assert_close(&Tensor::stack(&tiles, 0).sum_dim_intlist([0i64].as_slice(), false, None::<Kind>), &whole, 1e-6, "tiles");
    // A class for each pixel: logits have one dimension more.
    let (logits, labels) =
        (noise(&[2, 3, 4, 5], 3), Tensor::from_slice(&[0i64, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]).repeat([2]).view([2, 3, 4]));
    let classes = Region::new(LogLikelihood, 0..2, 3..4);
    let expected = LogLikelihood.measure(&logits.narrow(1, 0, 2).narrow(2, 3, 1), &labels.narrow(1, 0, 2).narrow(2, 3, 1));
    assert_close(&classes.measure(&logits, &labels), &expected, 1e-6, "classes of pixels");
    assert_eq!(slope(&classes, &logits, &labels).narrow(1, 2, 1).abs().max().double_value(&[]), 0.0);
    says(Region::new(NegativeSquaredError, 1..6, 0..1).check(&outputs, &targets), &["Region.rows", "within 0..5", "1..6"]);
    says(Region::new(NegativeSquaredError, 0..1, 3..3).check(&outputs, &targets), &["Region.columns", "within 0..6", "3..3"]);
    says(
        Region::new(Logit, 0..1, 0..1).check(&noise(&[3, 4], 1), &Tensor::from_slice(&[0i64, 1, 2])),
        &["[n, ..., height, width]", "[3]"],
    );
}
