//! One test binary: laws over every method, oracles, goldens from peers, bad input.

mod bad_input;
mod dataset;
mod golden;
mod laws;
mod layers;
mod oracles;
mod tasks;
mod training;
