//! SHA-256 of tensors: every byte, whatever their strides.

use sha2::{Digest, Sha256};
use tch::Tensor;

use crate::checkpoint::Checkpoint;
use crate::error::{Result, guarded};

/// Numbers that are copied out of a tensor at a time.
const CHUNK: i64 = 1 << 18;

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn update(digest: &mut Sha256, tensor: &Tensor) -> Result<()> {
    digest.update(format!("{:?} {:?}\n", tensor.kind(), tensor.size()));
    let flat = tensor.detach().contiguous().view([-1]);
    let (width, total) = (flat.kind().elt_size_in_bytes(), flat.numel() as i64);
    let mut buffer = vec![0; CHUNK as usize * width];
    for start in (0..total).step_by(CHUNK as usize) {
        let len = CHUNK.min(total - start);
        flat.f_narrow(0, start, len)?.f_copy_data_u8(&mut buffer, len as usize)?;
        digest.update(&buffer[..len as usize * width]);
    }
    Ok(())
}

pub(crate) fn of_tensor(tensor: &Tensor) -> Result<String> {
    guarded(|| {
        let mut digest = Sha256::new();
        update(&mut digest, tensor)?;
        Ok(hex(digest))
    })
}

pub(crate) fn of_ids(ids: &[u32]) -> String {
    let mut digest = Sha256::new();
    ids.iter().for_each(|id| digest.update(id.to_le_bytes()));
    hex(digest)
}

/// Names, shapes and bytes, in the order of the names: a checkpoint that was saved and loaded is the same.
pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Result<String> {
    guarded(|| {
        let mut tensors: Vec<&(String, Tensor)> = checkpoint.tensors().iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        let mut digest = Sha256::new();
        for (name, tensor) in tensors {
            digest.update(format!("{name}\n"));
            update(&mut digest, tensor)?;
        }
        Ok(hex(digest))
    })
}
