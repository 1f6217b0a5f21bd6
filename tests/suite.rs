//! One test binary: laws over every method, oracles, goldens from peers, bad input.

mod bad_input;
mod dataset;
mod display;
mod golden;
mod laws;
mod layers;
mod metric;
mod oracles;
mod plot;
mod products;
mod readme;
mod solvers;
mod tasks;
mod training;
