//! From one forward and one backward pass to per-example gradients; or, where the tape has not seen all, example by example.

use tch::{Kind, Tensor};

use super::seen::Seen;
use super::{Block, Columns, Entry, Form, Gradients, Outer, backward};
use crate::error::{Error, Result};
use crate::model::Record;
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

    /// Whether the tape tells the whole truth about this network, found out on one or two examples, each alone and twice.
    ///
    /// It does not if a parameter is also used outside the tape, or if a layer's first dimension is not the batch (a table of
    /// positions, say) and only happens to have its size; then the loop must be used throughout. What is differentiated here is
    /// a fixed mixture of the outputs: the gradient of an objective vanishes on examples that are learnt, and rounding with it.
    /// The truth comes from the same forward pass: in another, rounding may put a ReLU or a pool on the other side of its kink.
    pub(crate) fn tape_suffices(snapshot: &Snapshot, inputs: &Tensor) -> Result<bool> {
        for example in [0, inputs.size()[0] - 1] {
            let x = inputs.narrow(0, example, 1);
            for copies in [1, 2] {
                let (outputs, records) = snapshot.record(&Tensor::cat(&vec![&x; copies as usize], 0));
                let Some(groups) = group(snapshot, records, copies) else { return Ok(false) };
                let scalar = mixture(&outputs)?.sum(None::<Kind>);
                let rows = Gradients::of_deltas(snapshot, &groups, &see(&groups, copies)?, &scalar, copies, true)?.dense()?;
                let truth = snapshot.layout().flatten(&snapshot.parameter_gradients_keeping(&scalar)?) / copies as f64;
                let room = 1e-3 * truth.abs().max().double_value(&[]) + f64::from(f32::MIN_POSITIVE);
                if (rows - truth).abs().max().double_value(&[]) > room {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn from_tape(snapshot: &Snapshot, groups: Vec<Group>, values: &Tensor) -> Result<Gradients> {
        let n = values.size()[0];
        let seen = see(&groups, n)?;
        Gradients::of_deltas(snapshot, &groups, &seen, &values.sum(None::<Kind>), n, false)
    }

    /// For each of several covectors in the outputs' shape, `Σ outputs ∘ covector` differentiated for each example, from one
    /// forward pass. `covectors` sees the outputs of the batch, or those of the example at a position.
    pub(crate) fn pull(
        snapshot: &Snapshot,
        inputs: &Tensor,
        covectors: impl Fn(&Tensor, Option<i64>) -> Result<Vec<Tensor>>,
    ) -> Result<Vec<Gradients>> {
        let n = inputs.size()[0];
        if snapshot.taped(inputs)? {
            let (outputs, records) = snapshot.record(inputs);
            if let Some(groups) = group(snapshot, records, n) {
                let covectors = covectors(&outputs, None)?;
                let seen = see(&groups, n)?;
                let last = covectors.len() - 1;
                let set = |(c, w): (usize, &Tensor)| {
                    Gradients::of_deltas(snapshot, &groups, &seen, &(&outputs * w).sum(None::<Kind>), n, c < last)
                };
                return covectors.iter().enumerate().map(set).collect();
            }
        }
        // `rows[c][i]`; an example may have fewer covectors than another, the rest being zero.
        let mut rows: Vec<Vec<Tensor>> = Vec::new();
        let zero = || Tensor::zeros([snapshot.p()], (Kind::Float, tch::Device::Cpu));
        for i in 0..n {
            let outputs = snapshot.forward(&inputs.narrow(0, i, 1));
            let covectors = covectors(&outputs, Some(i))?;
            while rows.len() < covectors.len() {
                rows.push((0..i).map(|_| zero()).collect());
            }
            for (c, set) in rows.iter_mut().enumerate() {
                set.push(match covectors.get(c) {
                    Some(w) => {
                        let scalar = (&outputs * w).sum(None::<Kind>);
                        snapshot.layout().flatten(&snapshot.parameter_gradients_keeping(&scalar)?)
                    }
                    None => zero(),
                });
            }
        }
        Ok(rows.iter().map(|set| Gradients::of_rows(Tensor::stack(set, 0), snapshot.layout())).collect())
    }

    /// One backward pass of a scalar that is a sum over examples.
    fn of_deltas(
        snapshot: &Snapshot,
        groups: &[Group],
        seen: &[Vec<Seen>],
        scalar: &Tensor,
        n: i64,
        keep: bool,
    ) -> Result<Gradients> {
        let outputs: Vec<&Tensor> = groups.iter().flat_map(|g| g.uses.iter().map(|r| &r.output)).collect();
        let mut deltas = backward(scalar, &outputs, keep, false)?.into_iter();
        let mut blocks = Vec::with_capacity(groups.len());
        for (group, seen) in groups.iter().zip(seen) {
            let mut forms = Vec::with_capacity(group.uses.len());
            for (record, seen) in group.uses.iter().zip(seen) {
                let delta = deltas.next().filter(Tensor::defined).ok_or_else(|| unreached(&record.name))?;
                if record.output.internal_version() != record.version {
                    let reason =
                        "its output was changed in place after the tape saw it; use relu() rather than relu_() and the like";
                    return Err(Error::layer(&record.name, reason));
                }
                forms.push(seen.form(&delta, n, group.bias.is_some()));
            }
            let name = group.uses[0].name.clone();
            blocks.push(Block { name, form: join(forms, group)?, columns: group.columns() });
        }
        for block in &blocks {
            let hint =
                format!("layer {}: a gradient is NaN or infinite; look for saturated outputs or zeros under a root", block.name);
            match &block.form {
                Form::Turned(_) => {}
                Form::Outer(Outer { delta, .. }) | Form::Lookup { delta, .. } | Form::Dense(delta) => {
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
            let outputs = snapshot.forward(&inputs.narrow(0, i, 1));
            let gradients = snapshot.parameter_gradients(&value(&outputs, i)?.sum(None::<Kind>), false)?;
            rows.push(snapshot.layout().flatten(&gradients));
        }
        let rows =
            finite("the backward pass", Tensor::stack(&rows, 0), "a gradient is NaN or infinite; look for saturated outputs")?;
        let all = Entry { name: "all".into(), shape: vec![snapshot.p()], offset: 0, len: snapshot.p() };
        let block = Block {
            name: "all (one example at a time)".into(),
            form: Form::Dense(rows),
            columns: Columns { weight: all, bias: None },
        };
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

impl Group {
    fn columns(&self) -> Columns {
        Columns { weight: self.weight.clone(), bias: self.bias.clone() }
    }
}

/// Sorts records by weight; `None` if a trained parameter was not seen, or in a way the block forms cannot express.
fn group(snapshot: &Snapshot, records: Vec<Record>, n: i64) -> Option<Vec<Group>> {
    let entries = snapshot.layout().entries();
    let find = |t: &Tensor| snapshot.parameters().iter().position(|p| same(p, t));
    let mut seen = vec![false; entries.len()];
    let mut groups: Vec<Group> = Vec::new();
    for record in records {
        // A frozen weight or bias has no entry; a frozen weight with a trained bias has no form here.
        let weight = find(&record.weight);
        let bias = record.bias.as_ref().map(&find);
        let (weight, bias) = match (weight, bias) {
            (None, None | Some(None)) => continue,
            (None, Some(Some(_))) => return None,
            (Some(weight), bias) => (weight, bias.flatten()),
        };
        if record.input.size().first() != Some(&n) || record.output.size().first() != Some(&n) {
            return None;
        }
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

/// A layer used several times: more positions where the forms agree, else the sum of formed gradients.
fn join(mut forms: Vec<Form>, group: &Group) -> Result<Form> {
    if forms.len() == 1 {
        return Ok(forms.remove(0));
    }
    if forms.iter().all(|f| matches!(f, Form::Outer(_))) {
        let parts = |pick: fn(&Outer) -> &Tensor| {
            let of = |f: &Form| if let Form::Outer(outer) = f { Some(pick(outer).shallow_clone()) } else { None };
            forms.iter().filter_map(of).collect::<Vec<_>>()
        };
        let (a, delta) = (Tensor::cat(&parts(|o| &o.a), 2), Tensor::cat(&parts(|o| &o.delta), 2));
        let masks = forms.iter().filter_map(|form| match form {
            Form::Outer(Outer { mask: Some(mask), .. }) => Some(mask.shallow_clone()),
            Form::Outer(outer) => Some(Tensor::ones([outer.a.size()[0], outer.a.size()[2]], (Kind::Bool, tch::Device::Cpu))),
            _ => None,
        });
        let masked = forms.iter().any(|form| matches!(form, Form::Outer(Outer { mask: Some(_), .. })));
        let mask = masked.then(|| Tensor::cat(&masks.collect::<Vec<_>>(), 1));
        return Ok(Form::Outer(Outer { a, delta, unit: None, mask }));
    }
    if forms.iter().all(|f| matches!(f, Form::Lookup { .. })) {
        let parts = |pick: fn(&Form) -> Option<&Tensor>| forms.iter().filter_map(pick).collect::<Vec<_>>();
        let index = parts(|f| if let Form::Lookup { index, .. } = f { Some(index) } else { None });
        let delta = parts(|f| if let Form::Lookup { delta, .. } = f { Some(delta) } else { None });
        let masks = parts(|f| if let Form::Lookup { mask, .. } = f { mask.as_ref() } else { None });
        let mask = (masks.len() == forms.len()).then(|| Tensor::cat(&masks, 1));
        return Ok(Form::Lookup { index: Tensor::cat(&index, 1), delta: Tensor::cat(&delta, 1), mask });
    }
    let mut total: Option<Tensor> = None;
    for form in forms {
        let block = Block { name: String::new(), form, columns: group.columns() };
        let rows = block.dense()?;
        total = Some(match total {
            Some(sum) => sum + rows,
            None => rows,
        });
    }
    total.map(Form::Dense).ok_or_else(|| Error::layer(&group.weight.name, "it was never used"))
}

fn see(groups: &[Group], n: i64) -> Result<Vec<Vec<Seen>>> {
    groups.iter().map(|group| group.uses.iter().map(|record| Seen::new(record, n)).collect()).collect()
}
