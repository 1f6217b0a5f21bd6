//! From one forward and one backward pass to per-example gradients; or, where the tape has not seen all, example by example.

use tch::{Kind, Tensor};

use super::{Block, Entry, Form, Gradients, backward};
use crate::error::{Error, Result};
use crate::model::{Operation, Record, Tape};
use crate::snapshot::{Of, Snapshot, finite, same, unreached};

impl Gradients {
    /// Gradients of a batch, by the tape if it tells the whole truth, else by the loop.
    pub(crate) fn compute(snapshot: &Snapshot, of: Of, inputs: &Tensor, targets: &Tensor) -> Result<Gradients> {
        let value = |outputs: &Tensor, targets: &Tensor| snapshot.measured(of, outputs, targets);
        if snapshot.taped(inputs)?
            && let Some(gradients) = Gradients::by_tape(snapshot, inputs, |outputs| value(outputs, targets))?
        {
            return Ok(gradients);
        }
        Gradients::by_loop(snapshot, inputs, |outputs, i| value(outputs, &targets.narrow(0, i, 1)))
    }

    /// Gradients of `value`, `[n]` from the outputs; `None` where the tape has not seen every trained parameter.
    fn by_tape(snapshot: &Snapshot, inputs: &Tensor, value: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Option<Gradients>> {
        let (outputs, records) = snapshot.record(inputs);
        let Some(groups) = group(snapshot, records, inputs.size()[0]) else { return Ok(None) };
        Ok(Some(Gradients::from_tape(snapshot, groups, &value(&outputs)?)?))
    }

    /// Whether the tape tells the whole truth about this network, found out on one or two examples.
    ///
    /// It does not if a parameter is also used outside the tape, or if a layer's first dimension is not the batch (a table of
    /// positions, say) and only happens to have its size; then the loop must be used throughout. What is differentiated here is
    /// a fixed mixture of the outputs: the gradient of an objective vanishes on examples that are learnt, and rounding with it.
    pub(crate) fn tape_suffices(snapshot: &Snapshot, inputs: &Tensor) -> Result<bool> {
        for example in [0, inputs.size()[0] - 1] {
            let x = inputs.narrow(0, example, 1);
            let one = Gradients::by_tape(snapshot, &x, mixture)?;
            let two = Gradients::by_tape(snapshot, &Tensor::cat(&[&x, &x], 0), mixture)?;
            let (Some(one), Some(two)) = (one, two) else { return Ok(false) };
            let truth = Gradients::by_loop(snapshot, &x, |outputs, _| mixture(outputs))?.dense()?;
            let room = 1e-3 * truth.abs().max().double_value(&[]) + f64::from(f32::MIN_POSITIVE);
            for rows in [one.dense()?, two.dense()?] {
                if (rows - &truth).abs().max().double_value(&[]) > room {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn from_tape(snapshot: &Snapshot, groups: Vec<Group>, values: &Tensor) -> Result<Gradients> {
        let n = values.size()[0];
        let outputs: Vec<&Tensor> = groups.iter().flat_map(|g| g.uses.iter().map(|r| &r.output)).collect();
        let deltas = backward(&values.sum(None::<Kind>), &outputs, false, false)?;
        let mut deltas = deltas.into_iter();
        let mut blocks = Vec::with_capacity(groups.len());
        for group in groups {
            let mut forms = Vec::with_capacity(group.uses.len());
            for record in &group.uses {
                let delta = deltas.next().filter(Tensor::defined).ok_or_else(|| unreached(&record.name))?;
                if record.output.internal_version() != record.version {
                    let reason =
                        "its output was changed in place after the tape saw it; use relu() rather than relu_() and the like";
                    return Err(Error::layer(&record.name, reason));
                }
                forms.push(form(record, &delta, n)?);
            }
            let name = group.uses[0].name.clone();
            blocks.push(Block { name, form: join(forms, &group)?, weight: group.weight, bias: group.bias });
        }
        for block in &blocks {
            let hint =
                format!("layer {}: a gradient is NaN or infinite; look for saturated outputs or zeros under a root", block.name);
            match &block.form {
                Form::Outer { delta, .. } | Form::Lookup { delta, .. } | Form::Dense(delta) => {
                    let _ = finite("the backward pass", delta.shallow_clone(), &hint)?;
                }
            }
        }
        Ok(Gradients::new(n, snapshot.layout().clone(), blocks))
    }

    /// One forward and backward pass per example: the fallback, and the tape's oracle. `value` is `[1]` from the outputs of
    /// the example at a position.
    fn by_loop(snapshot: &Snapshot, inputs: &Tensor, value: impl Fn(&Tensor, i64) -> Result<Tensor>) -> Result<Gradients> {
        let n = inputs.size()[0];
        let mut rows = Vec::with_capacity(n as usize);
        for i in 0..n {
            let outputs = snapshot.network().forward(&inputs.narrow(0, i, 1), &mut Tape::off());
            let gradients = snapshot.parameter_gradients(&value(&outputs, i)?.sum(None::<Kind>), false)?;
            rows.push(snapshot.layout().flatten(&gradients));
        }
        let rows =
            finite("the backward pass", Tensor::stack(&rows, 0), "a gradient is NaN or infinite; look for saturated outputs")?;
        let all = Entry { name: "all".into(), shape: vec![snapshot.p()], offset: 0, len: snapshot.p() };
        let block = Block { name: "all (one example at a time)".into(), form: Form::Dense(rows), weight: all, bias: None };
        Ok(Gradients::new(n, snapshot.layout().clone(), vec![block]))
    }
}

/// A fixed linear mixture of each example's outputs, `[n]`.
fn mixture(outputs: &Tensor) -> Result<Tensor> {
    let flat = outputs.reshape([outputs.size()[0], -1]);
    let weights = Tensor::arange(flat.size()[1], (flat.kind(), outputs.device())).cos();
    Ok((flat * weights).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>))
}

/// All uses of one weight.
struct Group {
    weight: Entry,
    bias: Option<Entry>,
    uses: Vec<Record>,
}

/// Sorts records by weight; `None` if a trained parameter was not seen, or in a way the block forms cannot express.
fn group(snapshot: &Snapshot, records: Vec<Record>, n: i64) -> Option<Vec<Group>> {
    let entries = snapshot.layout().entries();
    let find = |t: &Tensor| snapshot.parameters().iter().position(|p| same(p, t));
    let mut seen = vec![false; entries.len()];
    let mut groups: Vec<Group> = Vec::new();
    for record in records {
        if record.input.size().first() != Some(&n) || record.output.size().first() != Some(&n) {
            return None;
        }
        // A frozen weight or bias has no entry; a frozen weight with a trained bias has no form here.
        let weight = find(&record.weight);
        let bias = record.bias.as_ref().map(&find);
        let (weight, bias) = match (weight, bias) {
            (None, None | Some(None)) => continue,
            (None, Some(Some(_))) => return None,
            (Some(weight), bias) => (weight, bias.flatten()),
        };
        match groups.iter_mut().find(|g| g.weight == entries[weight]) {
            Some(group) if group.bias.as_ref() == bias.map(|b| &entries[b]) => group.uses.push(record),
            Some(_) => return None,
            None if bias.is_some_and(|b| seen[b]) => return None,
            None => {
                seen[weight] = true;
                bias.into_iter().for_each(|b| seen[b] = true);
                groups.push(Group {
                    weight: entries[weight].clone(),
                    bias: bias.map(|b| entries[b].clone()),
                    uses: vec![record],
                });
            }
        }
    }
    seen.iter().all(|&s| s).then_some(groups)
}

/// The gradient of one use of a layer.
fn form(record: &Record, delta: &Tensor, n: i64) -> Result<Form> {
    Ok(match &record.operation {
        Operation::Linear => {
            let view = |x: &Tensor| x.reshape([n, 1, -1, x.size().last().copied().unwrap_or(1)]);
            Form::Outer { a: view(&record.input), delta: view(delta) }
        }
        Operation::Convolution(options) => {
            let kernel = record.kernel();
            let patches = record.input.im2col(kernel, options.dilation, options.padding, options.stride);
            let (g, t) = (options.groups, patches.size()[2]);
            Form::Outer {
                a: patches.view([n, g, -1, t]).transpose(2, 3).contiguous(),
                delta: delta.reshape([n, g, -1, t]).transpose(2, 3).contiguous(),
            }
        }
        Operation::ScaleLast => {
            let width = record.weight.numel() as i64;
            scale(&record.input.reshape([n, -1, width]), &delta.reshape([n, -1, width]), 1, record.bias.is_some())
        }
        Operation::ScaleChannel => {
            let channels = record.weight.size()[0];
            scale(&record.input.reshape([n, channels, -1]), &delta.reshape([n, channels, -1]), 2, record.bias.is_some())
        }
        Operation::Lookup { padding } => {
            let index = record.input.reshape([n, -1]).to_kind(Kind::Int64);
            let mut delta = delta.reshape([n, index.size()[1], -1]);
            if let Some(row) = padding {
                // Out of place: autograd may hand the same tensor to another layer.
                delta = &delta * index.not_equal(*row).unsqueeze(-1);
            }
            Form::Lookup { index, delta }
        }
    })
}

/// `s = a ∘ w + b`: the gradients are `Σ δ ∘ a` and `Σ δ` over dimension `over`.
fn scale(a: &Tensor, delta: &Tensor, over: i64, bias: bool) -> Form {
    let sum = |x: Tensor| x.sum_dim_intlist([over].as_slice(), false, None::<Kind>);
    let weight = sum(a * delta);
    Form::Dense(match bias {
        true => Tensor::cat(&[weight, sum(delta.shallow_clone())], 1),
        false => weight,
    })
}

/// A layer used several times: more positions where the forms agree, else the sum of formed gradients.
fn join(mut forms: Vec<Form>, group: &Group) -> Result<Form> {
    if forms.len() == 1 {
        return Ok(forms.remove(0));
    }
    if forms.iter().all(|f| matches!(f, Form::Outer { .. })) {
        let parts = |pick: fn(&Form) -> Option<&Tensor>| forms.iter().filter_map(pick).collect::<Vec<_>>();
        let a = parts(|f| if let Form::Outer { a, .. } = f { Some(a) } else { None });
        let delta = parts(|f| if let Form::Outer { delta, .. } = f { Some(delta) } else { None });
        return Ok(Form::Outer { a: Tensor::cat(&a, 2), delta: Tensor::cat(&delta, 2) });
    }
    if forms.iter().all(|f| matches!(f, Form::Lookup { .. })) {
        let parts = |pick: fn(&Form) -> Option<&Tensor>| forms.iter().filter_map(pick).collect::<Vec<_>>();
        let index = parts(|f| if let Form::Lookup { index, .. } = f { Some(index) } else { None });
        let delta = parts(|f| if let Form::Lookup { delta, .. } = f { Some(delta) } else { None });
        return Ok(Form::Lookup { index: Tensor::cat(&index, 1), delta: Tensor::cat(&delta, 1) });
    }
    let mut total: Option<Tensor> = None;
    for form in forms {
        let block = Block { name: String::new(), form, weight: group.weight.clone(), bias: group.bias.clone() };
        let rows = block.dense()?;
        total = Some(match total {
            Some(sum) => sum + rows,
            None => rows,
        });
    }
    total.map(Form::Dense).ok_or_else(|| Error::layer(&group.weight.name, "it was never used"))
}
