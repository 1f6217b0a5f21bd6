//! Arrays as `.npy`, written once and read by memory map.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;

use flate2::Crc;
use tch::{Device, Kind, Tensor};

use crate::error::{Error, Result};
use crate::file::write_aside;

/// Bytes that are copied out of a tensor, or read from a file, at a time.
const CHUNK: usize = 1 << 20;

/// What can be stored; the name that numpy has for it, and ours.
const KINDS: [(Kind, &str, &str); 4] =
    [(Kind::Float, "<f4", "float32"), (Kind::Half, "<f2", "float16"), (Kind::Int64, "<i8", "int64"), (Kind::Bool, "|b1", "bool")];

pub(super) fn kind_name(kind: Kind) -> Result<&'static str> {
    let known = KINDS.iter().find(|(k, _, _)| *k == kind).map(|(_, _, name)| *name);
    known.ok_or_else(|| Error::Unsupported(format!("an array of kind {kind:?} in a store")))
}

pub(super) fn kind_of(name: &str) -> Option<Kind> {
    KINDS.iter().find(|(_, _, known)| *known == name).map(|(kind, _, _)| *kind)
}

/// Version 1 of the format; padded to 64 bytes, so that what follows is aligned whatever its kind.
fn header(kind: Kind, shape: &[i64]) -> Vec<u8> {
    let descr = KINDS.iter().find(|(k, _, _)| *k == kind).map_or("", |(_, descr, _)| descr);
    let sizes = shape.iter().map(|size| format!("{size},")).collect::<Vec<_>>().join(" ");
    let sizes = if shape.len() > 1 { sizes.trim_end_matches(',') } else { &sizes };
    let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({sizes}), }}");
    while (10 + text.len() + 1) % 64 != 0 {
        text.push(' ');
    }
    text.push('\n');
    [b"\x93NUMPY\x01\x00".as_slice(), &(text.len() as u16).to_le_bytes(), text.as_bytes()].concat()
}

/// Writes a contiguous tensor aside and renames it; gives the size of the file and the CRC-32 of its bytes.
pub(super) fn write(path: &Path, tensor: &Tensor) -> Result<(u64, u32)> {
    kind_name(tensor.kind())?;
    let (flat, width) = (tensor.view([-1]), tensor.kind().elt_size_in_bytes());
    let (step, total) = ((CHUNK / width) as i64, tensor.numel() as i64);
    let (mut crc, mut bytes, mut buffer) = (Crc::new(), 0, vec![0; CHUNK]);
    write_aside(path, |file| {
        let mut put = |part: &[u8]| {
            crc.update(part);
            bytes += part.len() as u64;
            file.write_all(part)
        };
        put(&header(tensor.kind(), &tensor.size()))?;
        for start in (0..total).step_by(step as usize) {
            let len = step.min(total - start);
            let copied = flat.f_narrow(0, start, len).and_then(|part| part.f_copy_data_u8(&mut buffer, len as usize));
            copied.map_err(|error| std::io::Error::other(error.to_string()))?;
            put(&buffer[..len as usize * width])?;
        }
        Ok(())
    })?;
    Ok((bytes, crc.sum()))
}

/// The array in a file, mapped into memory: pages are read when they are used, and writing to them does not reach the file.
///
/// The size is checked first: a map past the end of a file kills the process when it is touched.
pub(super) fn map(path: &Path, kind: Kind, shape: &[i64]) -> Result<Tensor> {
    let broken = |reason: String| Error::data(path.display().to_string(), reason);
    let expected = header(kind, shape);
    let numel = shape.iter().try_fold(1i64, |product, &size| product.checked_mul(size)).filter(|&numel| numel >= 0);
    let width = kind.elt_size_in_bytes() as i64;
    let bytes = numel.and_then(|numel| numel.checked_mul(width)?.checked_add(expected.len() as i64));
    let (Some(numel), Some(bytes)) = (numel, bytes) else {
        return Err(broken(format!("expected the sizes of an array, got {shape:?}")));
    };
    check_size(path, bytes as u64)?;
    let mut found = vec![0; expected.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut found)).map_err(|e| Error::io(path, e))?;
    if found != expected {
        return Err(broken(format!("expected an .npy array of {} {shape:?}, got another header", kind_name(kind)?)));
    }
    let name = path.to_str().ok_or_else(|| broken("expected a path in UTF-8".into()))?;
    let whole = Tensor::f_from_file(name, false, bytes / width, (kind, Device::Cpu))?;
    Ok(whole.f_narrow(0, expected.len() as i64 / width, numel)?.f_view(shape)?)
}

fn check_size(path: &Path, bytes: u64) -> Result<()> {
    let found = fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    match found == bytes {
        true => Ok(()),
        false => Err(Error::data(path.display().to_string(), format!("expected {bytes} bytes, got {found}"))),
    }
}

/// That a file has this size and, where `read` says so, this CRC-32.
pub(super) fn check(path: &Path, bytes: u64, crc32: u32, read: bool) -> Result<()> {
    check_size(path, bytes)?;
    if !read {
        return Ok(());
    }
    let mut file = File::open(path).map_err(|e| Error::io(path, e))?;
    let (mut crc, mut buffer) = (Crc::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut buffer).map_err(|e| Error::io(path, e))? {
            0 => break,
            count => crc.update(&buffer[..count]),
        }
    }
    match crc.sum() == crc32 {
        true => Ok(()),
        false => {
            let reason = format!("its bytes have changed (expected CRC-32 {crc32:08x}, got {:08x})", crc.sum());
            Err(Error::data(path.display().to_string(), reason))
        }
    }
}
