use std::thread;

use super::design::Design;
use crate::error::{Error, Result};

/// Variance between and within groups of many pairs at once, on every core: [`one_way`](super::one_way)'s `between` and `within`.
///
/// `draws` are matrices of scores as slices, one number a pair, group after group (a run's checkpoints side by side). NaN where a draw is
/// not finite. Errors: [`Error::Shape`] for slices of different lengths, fewer than two groups, or groups of different sizes or of one.
///
/// ```
/// let draws: [&[f32]; 4] = [&[1.0, 0.0], &[1.5, 1.0], &[3.0, 1.0], &[3.5, 0.0]]; // two runs of two checkpoints, two pairs
/// let (mut between, mut within) = ([0.0; 2], [0.0; 2]);
/// ascribe::statistics::one_way_pairs(&draws, 2, &mut between, &mut within)?;
/// assert_eq!((between, within), ([1.9375, -0.25], [0.125, 0.5]));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn one_way_pairs(draws: &[&[f32]], groups: usize, between: &mut [f32], within: &mut [f32]) -> Result<()> {
    crossed_pairs(draws, &[groups], &mut [between, within])
}

/// Components of variance of many pairs at once, on every core: [`crossed`](super::crossed)'s, in its order, a slice for each.
///
/// `draws` are matrices of scores as slices, one number a pair, in the order of `crossed`'s values. NaN where a draw is not finite. The
/// slices are all the memory that is used. Errors: [`Error::Shape`] where `crossed` has nothing to say, or for slices that do not fit.
///
/// ```
/// let draws: [&[f32]; 4] = [&[1.0], &[11.0], &[3.0], &[13.0]]; // two initialisations, two orders, one pair
/// let (mut init, mut order, mut both) = ([0.0], [0.0], [0.0]);
/// ascribe::statistics::crossed_pairs(&draws, &[2, 2], &mut [&mut init, &mut order, &mut both])?;
/// assert_eq!((init, order, both), ([2.0], [50.0], [0.0]));
/// # Ok::<(), ascribe::Error>(())
/// ```
pub fn crossed_pairs(draws: &[&[f32]], levels: &[usize], components: &mut [&mut [f32]]) -> Result<()> {
    let design = Design::new(levels, draws.len()).ok_or_else(|| {
        let expected =
            format!("every combination of {levels:?} levels equally often, of one to four factors with two levels at least");
        Error::shape("draws", expected, draws.len())
    })?;
    let sets = design.components();
    if components.len() != sets.len() {
        return Err(Error::shape("components", format!("{} slices", sets.len()), components.len()));
    }
    let pairs = components[0].len();
    let lengths = draws.iter().map(|draw| draw.len()).chain(components.iter().map(|component| component.len()));
    if let Some(other) = lengths.into_iter().find(|&length| length != pairs) {
        return Err(Error::shape("draws and components", format!("{pairs} pairs each"), other));
    }
    let weights: Vec<Vec<(usize, f64)>> = sets.iter().map(|&set| design.weights(set)).collect();
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let share = pairs.div_ceil(cores).max(1);
    // Each core's part of every component.
    let mut parts: Vec<Vec<&mut [f32]>> = (0..pairs.div_ceil(share)).map(|_| Vec::new()).collect();
    for component in components {
        component.chunks_mut(share).zip(&mut parts).for_each(|(chunk, part)| part.push(chunk));
    }
    thread::scope(|scope| {
        for (core, mut part) in parts.into_iter().enumerate() {
            let (design, weights) = (&design, &weights);
            scope.spawn(move || {
                let (mut values, mut room) = (vec![0.0; draws.len()], Vec::new());
                for at in 0..part[0].len() {
                    values.iter_mut().zip(draws).for_each(|(value, draw)| *value = f64::from(draw[core * share + at]));
                    let known = values.iter().all(|value| value.is_finite());
                    let squares = design.mean_squares(&values, &mut room);
                    for (component, weights) in part.iter_mut().zip(weights) {
                        let variance: f64 = weights.iter().map(|&(set, weight)| weight * squares[set]).sum();
                        component[at] = if known { variance as f32 } else { f32::NAN };
                    }
                }
            });
        }
    });
    Ok(())
}
