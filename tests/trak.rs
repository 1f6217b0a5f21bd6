//! TRAK and its kin against brute force, closed forms and each other.

use std::sync::Arc;

use ascribe::gradient::Layout;
use ascribe::prelude::*;
use ascribe::projection::Part;
use ascribe::tch::{Kind, Tensor};

use crate::tasks::{self, assert_close, clusters, difference};

/// A dense map with entries from a fixed formula, one for the whole network.
#[derive(Debug)]
struct Dense {
    k: i64,
}

struct Fitted {
    matrix: Tensor,
    parts: Vec<Part>,
}

/// `[p, k]`, entries near N(0, 1/k) by a sum of sines; a function of the member.
fn entries(p: i64, k: i64, member: u64) -> Tensor {
    let index = Tensor::arange(p * k, (Kind::Double, ascribe::tch::Device::Cpu)) + (1.0 + 1e4 * member as f64);
    let hashed = ((&index * 12.9898).sin() * 43758.5453).frac() + ((&index * 78.233).sin() * 12543.137).frac();
    (hashed * (1.5 / k as f64).sqrt()).to_kind(Kind::Float).view([p, k])
}

impl Projection for Dense {
    fn name(&self) -> String {
        format!("dense {}", self.k)
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> ascribe::Result<Box<dyn Projector>> {
        let parts = vec![Part { name: "all".into(), offset: 0, len: self.k }];
        Ok(Box::new(Fitted { matrix: entries(layout.p(), self.k, member), parts }))
    }
}

impl Projector for Fitted {
    fn parts(&self) -> &[Part] {
        &self.parts
    }

    fn rows(&self, rows: &Tensor) -> ascribe::Result<Tensor> {
        Ok(rows.matmul(&self.matrix))
    }
}

fn rows(task: &Task, index: usize, output: impl Measurement + 'static, data: &Dataset) -> Tensor {
    let task = task.clone().with_objective(output);
    task.snapshot(index).unwrap().gradients(Of::Objective, data).unwrap().dense().unwrap().to_kind(Kind::Double)
}

/// `Φ_t (ΦᵀΦ + λ)⁻¹ Φᵀ` as it is written.
fn formula(features: &Tensor, tests: &Tensor, lambda: f64) -> Tensor {
    let k = features.size()[1];
    let moment = features.transpose(0, 1).matmul(features) + Tensor::eye(k, (Kind::Double, ascribe::tch::Device::Cpu)) * lambda;
    tests.matmul(&moment.inverse()).matmul(&features.transpose(0, 1))
}

fn residuals(task: &Task, index: usize, data: &Dataset) -> Tensor {
    let outputs = task.snapshot(index).unwrap().outputs(data).unwrap();
    1.0 - outputs.softmax(-1, Kind::Double).gather(1, &data.targets().unsqueeze(1), false).squeeze_dim(1)
}

fn score(method: &dyn Method, task: &Task, train: &Dataset, test: &Dataset) -> Tensor {
    method.fit(task, train).unwrap().matrix(test).unwrap()
}

#[test]
fn every_route_gives_the_formula() {
    for (name, task, train, test) in tasks::all() {
        let plain = |projection: Option<Arc<dyn Projection>>| {
            let trak = Trak { damping: Damping::Absolute(0.3), projection, weighting: false, ..default() };
            score(&trak, &task, &train, &test)
        };
        let (first, second) = (0, 1);
        let of = |map: &dyn Fn(&Tensor, u64) -> Tensor| {
            let member = |c: usize| {
                let (mine, theirs) = (rows(&task, c, Margin, &train), rows(&task, c, Margin, &test));
                formula(&map(&mine, task.member(c)), &map(&theirs, task.member(c)), 0.3)
            };
            (member(first) + member(second)) / 2.0
        };
        let exact = of(&|rows, _| rows.shallow_clone());
        assert_close(&plain(None), &exact, 2e-5, &format!("{name}, exact"));
        assert_close(&plain(Some(Arc::new(projection::Identity::default()))), &exact, 2e-5, &format!("{name}, identity"));
        for k in [10, 24, 40] {
            let projected = of(&|rows, c| rows.matmul(&entries(rows.size()[1], k, c).to_kind(Kind::Double)));
            assert_close(&plain(Some(Arc::new(Dense { k }))), &projected, 2e-5, &format!("{name}, {k} features of 24 examples"));
        }
    }
}

#[test]
fn weights_are_the_mean_doubt_of_the_checkpoints() {
    let (_, task, train, test) = tasks::all().remove(1);
    let plain = score(&Trak { weighting: false, ..default() }, &task, &train, &test);
    let weighted = score(&Trak::default(), &task, &train, &test);
    let doubt = (residuals(&task, 0, &train) + residuals(&task, 1, &train)) / 2.0;
    assert_close(&weighted, &(plain * doubt), 1e-6, "Q");
}

#[test]
fn a_path_is_separate_fits() {
    let (_, task, train, test) = tasks::all().remove(1);
    let dampings = [Damping::Absolute(0.02), Damping::Relative(0.5), Damping::Relative(30.0)];
    for projection in [None, Some(Arc::new(Dense { k: 10 }) as Arc<dyn Projection>)] {
        for threshold in [Threshold::None, Threshold::Quantile(0.4)] {
            let trak = Trak { projection: projection.clone(), threshold, ..default() };
            let path = trak.path(&task, &train).unwrap().score(&test, &dampings).unwrap();
            for (damping, scores) in dampings.into_iter().zip(path) {
                let alone = score(&Trak { damping, ..trak.clone() }, &task, &train, &test);
                assert_close(scores.tensor(), &alone, 1e-5, &format!("{damping:?}"));
            }
        }
    }
}

/// The prediction itself; a squared error falls as fast as the residual is large.
struct Prediction;

impl Measurement for Prediction {
    fn measure(&self, outputs: &Tensor, _: &Tensor) -> Tensor {
        outputs.squeeze_dim(1)
    }

    fn residual(&self, outputs: &Tensor, targets: &Tensor) -> Option<Tensor> {
        Some(targets - outputs.squeeze_dim(1))
    }
}

/// Least squares `(XᵀX)⁻¹ Xᵀ y` with a column of ones, float64.
fn least_squares(x: &Tensor, y: &Tensor) -> Tensor {
    let moment = x.transpose(0, 1).matmul(x);
    moment.inverse().matmul(&x.transpose(0, 1)).mv(y)
}

fn with_ones(data: &Dataset) -> Tensor {
    let x = data.inputs().to_kind(Kind::Double);
    Tensor::cat(&[&x, &x.ones_like().narrow(1, 0, 1)], 1)
}

#[test]
fn linear_regression_gives_leverage_and_leave_one_out() {
    let (train, test) = (clusters(24, 1), clusters(7, 2));
    let y = train.inputs().select(1, 0) * 0.7 - train.inputs().select(1, 2) + (train.inputs().select(1, 1) * 5.0).sin();
    let train = Dataset::new(train.inputs().shallow_clone(), y.shallow_clone()).unwrap();
    let test = Dataset::new(test.inputs().shallow_clone(), Tensor::zeros([7], (Kind::Float, y.device()))).unwrap();
    let (x, y, z) = (with_ones(&train), y.to_kind(Kind::Double), with_ones(&test));
    let weights = least_squares(&x, &y).to_kind(Kind::Float);
    let named =
        vec![("fc.weight".to_string(), weights.narrow(0, 0, 4).view([1, 4])), ("fc.bias".to_string(), weights.narrow(0, 4, 1))];
    let task = Task::new(|p: &nn::Path| {
        let fc = layer::linear(p / "fc", 4, 1);
        move |x: &Tensor, tape: &mut Tape| tape.linear("fc", &fc, x)
    });
    let task = task.with_checkpoints(vec![Checkpoint::new(0, 0, 0.1, named)]).unwrap().with_objective(NegativeSquaredError);
    let trak = Trak { output: Arc::new(Prediction), damping: Damping::Absolute(0.0), ..default() };
    let leverage = Trak { weighting: false, ..trak.clone() }.fit(&task, &train).unwrap().self_scores().unwrap();
    let hat = x.matmul(&x.transpose(0, 1).matmul(&x).inverse()).matmul(&x.transpose(0, 1));
    assert_close(&leverage, &hat.diagonal(0, 0, 1), 1e-5, "leverage");
    // What the prediction loses without an example: the score over what the example leaves to the others.
    let predicted = score(&trak, &task, &train, &test) / (1.0 - leverage);
    let full = z.mv(&least_squares(&x, &y));
    let without = (0..24i64).map(|i| {
        let others = Tensor::from_slice(&(0..24).filter(|&j| j != i).collect::<Vec<i64>>());
        &full - z.mv(&least_squares(&x.index_select(0, &others), &y.index_select(0, &others)))
    });
    let truth = Tensor::stack(&without.collect::<Vec<_>>(), 1);
    assert_close(&predicted, &truth, 1e-4, "leave-one-out");
}

fn all_routes() -> Vec<(&'static str, Option<Arc<dyn Projection>>)> {
    let dense = |k: i64| Some(Arc::new(Dense { k }) as Arc<dyn Projection>);
    vec![("exact", None), ("primal", dense(10)), ("dual", dense(40))]
}

/// Features of a checkpoint as the library sees them, float64.
fn features(task: &Task, projection: &Option<Arc<dyn Projection>>, index: usize, data: &Dataset) -> Tensor {
    let rows = rows(task, index, Margin, data);
    match projection {
        None => rows,
        Some(projection) => {
            let snapshot = task.snapshot(index).unwrap();
            let projector = projection.fit(snapshot.layout(), task.member(index)).unwrap();
            projector.rows(&rows.to_kind(Kind::Float)).unwrap().to_kind(Kind::Double)
        }
    }
}

#[test]
fn lengths_own_scores_and_sums_are_the_formula_s() {
    let (_, task, train, test) = tasks::all().remove(1);
    for (name, projection) in all_routes() {
        let trak = Trak { damping: Damping::Absolute(0.3), projection: projection.clone(), weighting: false, ..default() };
        let fitted = trak.fit(&task, &train).unwrap();
        let of = |f: &dyn Fn(&Tensor, &Tensor) -> Tensor| {
            let member = |c: usize| f(&features(&task, &projection, c, &train), &features(&task, &projection, c, &test));
            (member(0), member(1))
        };
        let moment = |features: &Tensor| {
            let eye = Tensor::eye(features.size()[1], (Kind::Double, features.device())) * 0.3;
            (features.transpose(0, 1).matmul(features) + eye).inverse()
        };
        let own = of(&|train, test| (test.matmul(&moment(train)) * test).sum_dim_intlist(1, false, Kind::Double));
        assert_close(&fitted.own_scores(&test).unwrap(), &((own.0 + own.1) / 2.0), 1e-4, &format!("{name}, own scores"));
        let moved = of(&|train, _| train.matmul(&moment(train)).square().sum_dim_intlist(1, false, Kind::Double));
        let moved = ((moved.0 + moved.1) / 4.0).sqrt(); // both checkpoints side by side, each halved
        assert_close(&fitted.train_lengths().unwrap(), &moved, 1e-4, &format!("{name}, lengths"));
        let sums = fitted.matrix(&test).unwrap().sum_dim_intlist(0, false, Kind::Double);
        assert_close(&fitted.together(&test).unwrap(), &sums, 1e-5, &format!("{name}, together"));
    }
}

#[test]
fn variants_of_d_trak_divide_columns() {
    let (_, task, train, test) = tasks::all().remove(1);
    let task = task.last();
    let output = || Arc::new(MeanSquaredOutput);
    let d_trak = DTrak { output: output(), damping: Damping::Absolute(0.3), ..default() };
    let plain = score(&d_trak, &task, &train, &test);
    let phi = rows(&task, 0, MeanSquaredOutput, &train);
    assert_close(&plain, &formula(&phi, &rows(&task, 0, MeanSquaredOutput, &test), 0.3), 2e-5, "D-TRAK");
    let lengths = phi.square().sum_dim_intlist(1, false, Kind::Double).sqrt();
    let renormalised = score(&DTrak { renormalised: true, ..d_trak.clone() }, &task, &train, &test);
    assert_close(&renormalised, &(&plain / lengths), 1e-5, "renormalised");
    let eye = Tensor::eye(phi.size()[1], (Kind::Double, phi.device())) * 0.3;
    let moved = phi.matmul(&(phi.transpose(0, 1).matmul(&phi) + eye).inverse());
    let moved = moved.square().sum_dim_intlist(1, false, Kind::Double).sqrt();
    let relative = score(&RelatIf::new(d_trak, Relative::Parameters), &task, &train, &test);
    assert_close(&relative, &(&plain / moved), 1e-4, "relative");
}

#[test]
fn float16_features_lose_three_digits_and_no_range() {
    let (_, task, train, test) = tasks::all().remove(1);
    for (name, projection) in all_routes().into_iter().skip(1) {
        let of = |scale: f64, half: bool| {
            let output = Arc::new(move |o: &Tensor, t: &Tensor| Margin.measure(o, t) * scale);
            score(&DTrak { output, projection: projection.clone(), half, ..default() }, &task, &train, &test)
        };
        for scale in [1.0, 1e-9, 1e9] {
            let (whole, half) = (of(scale, false), of(scale, true));
            assert_close(&half, &whole, 2e-2, &format!("{name}, {scale}"));
            assert!(difference(&half, &whole) > 1e-6, "{name}: features were not rounded");
        }
    }
}

#[test]
fn a_relative_damping_follows_the_units_of_the_output() {
    let (_, task, train, test) = tasks::all().remove(1);
    for (name, projection) in all_routes() {
        let of = |scale: f64, damping: Damping| {
            let output = Arc::new(move |o: &Tensor, t: &Tensor| Margin.measure(o, t) * scale);
            score(&DTrak { output, projection: projection.clone(), damping, ..default() }, &task, &train, &test)
        };
        assert_close(&of(7.0, Damping::Relative(0.2)), &of(1.0, Damping::Relative(0.2)), 1e-5, name);
        let phi = |c: usize| features(&task, &projection, c, &train).square().sum(Kind::Double).double_value(&[]) / 24.0;
        let one = task.last();
        let lambda = 0.2 * phi(1);
        let of_one = |damping: Damping| {
            let projection = projection.clone();
            score(&DTrak { output: Arc::new(Margin), projection, damping, ..default() }, &one, &train, &test)
        };
        assert_close(&of_one(Damping::Relative(0.2)), &of_one(Damping::Absolute(lambda)), 1e-5, name);
    }
}

#[test]
fn what_cannot_be_is_said() {
    let (_, task, train, test) = tasks::all().remove(1);
    let fit = |trak: Trak| trak.fit(&task, &train).map(drop);
    let says = |trak: Trak, parts: &[&str]| tasks::says(fit(trak), parts);
    says(Trak { damping: Damping::Absolute(-1.0), ..default() }, &["Trak.damping", "-1"]);
    says(Trak { threshold: Threshold::Quantile(1.0), ..default() }, &["Trak.threshold", "below 1"]);
    says(Trak { threshold: Threshold::Absolute(-2.0), ..default() }, &["Trak.threshold", "-2"]);
    says(Trak { output: Arc::new(MeanSquaredOutput), ..default() }, &["Trak.weighting", "mean squared output", "residual"]);
    // An example twice: n × n of rank n − 1.
    let twice = train.select(&(0..24).chain([3]).collect::<Vec<_>>()).unwrap();
    let none = Damping::Absolute(0.0);
    for projection in [None, Some(Arc::new(Dense { k: 40 }) as Arc<dyn Projection>)] {
        let trak = Trak { damping: none, projection, ..default() };
        tasks::says(trak.fit(&task, &twice).map(drop), &["Trak.damping", "25 × 25", "singular"]);
        let path = trak.path(&task, &twice).unwrap();
        tasks::says(path.score(&test, &[none]).map(drop), &["Trak.damping", "singular"]);
    }
    // Margins do not change when all logits do: p × p of lower rank.
    let logistic = tasks::logistic().train(&tasks::trainer(), &train).unwrap();
    tasks::says(Trak { damping: none, ..default() }.fit(&logistic, &train).map(drop), &["Trak.damping", "15 × 15", "singular"]);
    let wide = Task::new(|p: &nn::Path| Mlp::new(p, &[4, 4000, 3])).train(&Trainer { epochs: 1, ..default() }, &train).unwrap();
    let many = clusters(24_000, 5);
    tasks::says(Trak::default().fit(&wide, &many).map(drop), &["Trak.projection", "24000 train examples", "4.3 GB"]);
}

/// Two parts: the first 20 parameters and the rest, each with a dense map of its own.
#[derive(Debug)]
struct Halves;

struct FittedHalves(Vec<Tensor>, Vec<Part>);

impl Projection for Halves {
    fn name(&self) -> String {
        "halves".into()
    }

    fn fit(&self, layout: &Arc<Layout>, member: u64) -> ascribe::Result<Box<dyn Projector>> {
        let part = |name: &str, offset: i64, len: i64| Part { name: name.into(), offset, len };
        // 8 features are fewer than 24 examples, 30 are more: both routes at once.
        let maps = vec![entries(20, 8, member), entries(layout.p() - 20, 30, member + 7)];
        Ok(Box::new(FittedHalves(maps, vec![part("first", 0, 8), part("rest", 8, 30)])))
    }
}

impl Projector for FittedHalves {
    fn parts(&self) -> &[Part] {
        &self.1
    }

    fn rows(&self, rows: &Tensor) -> ascribe::Result<Tensor> {
        let rest = rows.size()[1] - 20;
        Ok(Tensor::cat(&[rows.narrow(1, 0, 20).matmul(&self.0[0]), rows.narrow(1, 20, rest).matmul(&self.0[1])], 1))
    }
}

#[test]
fn blocks_are_influence_of_each_part() {
    let (_, task, train, test) = tasks::all().remove(1);
    let task = task.with_measurement(Margin);
    let member = |c: usize, of: Of, data: &Dataset| {
        let snapshot = task.snapshot(c).unwrap();
        let rows = snapshot.gradients(of, data).unwrap().dense().unwrap();
        Halves.fit(snapshot.layout(), task.member(c)).unwrap().rows(&rows).unwrap().to_kind(Kind::Double)
    };
    // `g' (F + λ)⁻¹ g` of each part, λ a tenth of the mean eigenvalue of its F.
    let written = |left: &dyn Fn(usize) -> Tensor| {
        let mut terms = Vec::new();
        for c in [0, 1] {
            let (mine, theirs) = (member(c, Of::Objective, &train), left(c));
            for (offset, len) in [(0, 8), (8, 30)] {
                let (g, q) = (mine.narrow(1, offset, len), theirs.narrow(1, offset, len));
                let fisher = g.transpose(0, 1).matmul(&g) / 24.0;
                let lambda = 0.1 * fisher.trace().double_value(&[]) / len as f64;
                let inverse = (fisher + Tensor::eye(len, (Kind::Double, g.device())) * lambda).inverse();
                terms.push(q.matmul(&inverse).matmul(&g.transpose(0, 1)) / 2.0);
            }
        }
        Tensor::stack(&terms, 0).sum_dim_intlist(0, false, Kind::Double)
    };
    let fitted = BlockProjected::new(Halves).fit(&task, &train).unwrap();
    let scores = fitted.matrix(&test).unwrap();
    assert_close(&scores, &written(&|c| member(c, Of::Measurement, &test)), 2e-5, "scores");
    let own = written(&|c| member(c, Of::Objective, &train)).diagonal(0, 0, 1);
    assert_close(&fitted.self_scores().unwrap(), &own, 2e-5, "self-influence");
    let sums = scores.sum_dim_intlist(0, false, Kind::Double);
    assert_close(&fitted.together(&test).unwrap(), &sums, 1e-5, "together");
    // Without the Fisher matrix inner products are left.
    let plain = BlockProjected { fisher: FisherKind::Identity, ..BlockProjected::new(Halves) }.fit(&task, &train).unwrap();
    let product = |c: usize| member(c, Of::Measurement, &test).matmul(&member(c, Of::Objective, &train).transpose(0, 1));
    assert_close(&plain.matrix(&test).unwrap(), &((product(0) + product(1)) / 2.0), 1e-5, "identity");
    let squares = |c: usize| member(c, Of::Objective, &train).square().sum_dim_intlist(1, false, Kind::Double);
    assert_close(&plain.self_scores().unwrap(), &((squares(0) + squares(1)) / 2.0), 1e-5, "identity, self-influence");
    let own = |c: usize| member(c, Of::Measurement, &test).square().sum_dim_intlist(1, false, Kind::Double);
    assert_close(&plain.own_scores(&test).unwrap(), &((own(0) + own(1)) / 2.0), 1e-5, "identity, own scores");
}

#[test]
fn lo_gra_and_fact_grass_are_blocks_of_their_projections() {
    let (_, task, train, test) = tasks::all().remove(1);
    let blocks = |projection: Arc<dyn Projection>| score(&BlockProjected { projection, ..default() }, &task, &train, &test);
    let kronecker = projection::Kronecker { input: 3, output: 2, seed: 5, ..default() };
    let lo_gra = LoGra { input: 3, output: 2, seed: 5, ..default() };
    assert!(score(&lo_gra, &task, &train, &test).equal(&blocks(Arc::new(kronecker))));
    let sparse = projection::FactoredSparse { dim: 4, blowup: 4, seed: 5 };
    let fact_grass = FactGrass { dim: 4, blowup: 4, seed: 5, ..default() };
    assert!(score(&fact_grass, &task, &train, &test).equal(&blocks(Arc::new(sparse))));
    assert!(!score(&lo_gra, &task, &train, &test).equal(&score(&LoGra { seed: 6, ..lo_gra }, &task, &train, &test)));
    tasks::says(LoGra { input: 0, ..default() }.fit(&task, &train).map(drop), &["input", "0"]);
    let none = LoGra { damping: Damping::Absolute(0.0), ..default() };
    tasks::says(none.fit(&task, &train).map(drop), &["LoGra.damping", "singular"]);
}
