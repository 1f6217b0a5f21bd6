//! One test binary: laws over every method, oracles, goldens from peers, bad input.

mod bad_input;
mod dataset;
mod display;
mod geometry;
mod golden;
mod golden_curvature;
mod laws;
mod layers;
mod measurement;
mod metric;
mod models;
mod oracles;
mod plot;
mod products;
mod readme;
mod retrain;
mod solvers;
mod statistics;
mod store;
mod tasks;
mod training;
