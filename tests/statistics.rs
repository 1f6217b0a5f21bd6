//! Statistics against scipy.
