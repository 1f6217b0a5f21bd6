//! Exports the C functions below `tch`: a cell calls them by itself where it is the first to use a generic function of `tch`.

use std::env::var;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=exports");
    let of = |name: &str| var(name).unwrap_or_default();
    match (of("CARGO_CFG_TARGET_OS").as_str(), of("CARGO_CFG_TARGET_ARCH").as_str()) {
        // rustc gives the linker a list of its own. Two lists are one to lld, its linker here since 1.90, and an error to GNU ld.
        ("linux", "x86_64") if minor_version().is_some_and(|minor| minor >= 90) => {
            println!("cargo:rustc-link-arg=-Wl,--version-script={}/exports", of("CARGO_MANIFEST_DIR"));
        }
        ("macos", _) => {
            for symbols in ["_at_*", "_atg_*", "_ato_*", "_atc_*", "_ati_*", "_atm_*", "_ats_*", "_get_and_reset_last_err"] {
                println!("cargo:rustc-link-arg=-Wl,-exported_symbol,{symbols}");
            }
        }
        _ => {}
    }
}

/// 95 of `rustc 1.95.0 (…)`.
fn minor_version() -> Option<u32> {
    let output = Command::new(var("RUSTC").ok()?).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().nth(1)?.split('.').nth(1)?.parse().ok()
}
