//! What the system says of this process and its machine, in bytes; `None` where it does not say.

use std::fs::{read_to_string, write};

/// Memory that the process holds.
pub(crate) fn resident() -> Option<f64> {
    bytes("/proc/self/status", "VmRSS:")
}

/// The most that it held since [`reset_peak`], or since it began.
pub(crate) fn peak() -> Option<f64> {
    bytes("/proc/self/status", "VmHWM:")
}

/// Sets the peak to what is held now; whether that is possible here.
pub(crate) fn reset_peak() -> bool {
    write("/proc/self/clear_refs", "5").is_ok()
}

/// What is still free, by the machine and by the container's limit.
pub(crate) fn available() -> Option<f64> {
    let machine = bytes("/proc/meminfo", "MemAvailable:")?;
    let number = |file: &str| read_to_string(file).ok()?.trim().parse::<f64>().ok();
    let group = number("/sys/fs/cgroup/memory.max").zip(number("/sys/fs/cgroup/memory.current"));
    Some(group.map_or(machine, |(most, used)| machine.min((most - used).max(0.0))))
}

/// A line of a file that counts in kilobytes.
fn bytes(file: &str, name: &str) -> Option<f64> {
    let text = read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes * 1024.0)
}
