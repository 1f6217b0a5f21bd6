//! SHA-256 of tensors: every byte, whatever their strides. And a quick number for each of many rows.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use tch::{Kind, Tensor};

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

/// One number for each row of some tensors: the sum of the bits of its elements times fixed random keys, modulo 2⁶⁴. Exact, so that
/// neither threads nor processors change it; two rows that differ share it with a probability of at most 2⁻³², in general far less.
pub(crate) fn of_rows(tensors: [&Tensor; 2]) -> Result<Vec<i64>> {
    let rows = tensors[0].size()[0];
    guarded(|| {
        let mut total = Tensor::f_zeros([rows], (Kind::Int64, tensors[0].device()))?;
        for (seed, tensor) in (0..).zip(tensors) {
            let width = tensor.numel() as i64 / rows.max(1);
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            let keys: Vec<i64> = (0..width).map(|_| generator.next_u64() as i64).collect();
            let keys = Tensor::from_slice(&keys);
            let few = (CHUNK / width.max(1)).max(1); // what is multiplied stays in the cache
            let sums = tensor.detach().f_split(few, 0)?.into_iter().map(|some| {
                let bits = bits(&some.f_reshape([some.size()[0], width])?)?;
                Ok(bits.f_mul(&keys)?.f_sum_dim_intlist([1i64].as_slice(), false, Kind::Int64)?)
            });
            total = total.f_add(&Tensor::f_cat(&sums.collect::<Result<Vec<_>>>()?, 0)?)?;
        }
        Ok(Vec::<i64>::try_from(&total)?)
    })
}

/// The bits of numbers, as int64.
fn bits(tensor: &Tensor) -> Result<Tensor> {
    let same_width = match tensor.kind() {
        Kind::Float => Kind::Int,
        Kind::Double => Kind::Int64,
        Kind::Half | Kind::BFloat16 => Kind::Int16,
        kind => kind,
    };
    Ok(tensor.f_view_dtype(same_width)?.f_to_kind(Kind::Int64)?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn rows_have_a_digest_of_all_that_is_in_them() {
        let inputs = Tensor::arange(600_000, (Kind::Float, Device::Cpu)).view([200, 3, 1000]) / 7.0;
        let targets = Tensor::arange(200, (Kind::Int64, Device::Cpu));
        let all = of_rows([&inputs, &targets]).unwrap();
        let distinct: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), 200);
        let order = Tensor::from_slice(&[150i64, 3, 3]);
        let some = of_rows([&inputs.index_select(0, &order), &targets.index_select(0, &order)]).unwrap();
        assert_eq!(some, [all[150], all[3], all[3]], "a row does not know of the others");
        let turned = inputs.transpose(1, 2).contiguous().transpose(1, 2);
        assert_eq!(of_rows([&turned, &targets]).unwrap(), all, "strides");
        let differ = |inputs: &Tensor, targets: &Tensor| {
            let others = of_rows([inputs, targets]).unwrap();
            (0..200).filter(|&row| others[row] != all[row]).collect::<Vec<_>>()
        };
        let (nudged, relabelled) = (inputs.copy(), targets.copy());
        let last_bit = f64::from(f32::from_bits((nudged.double_value(&[7, 2, 999]) as f32).to_bits() + 1));
        let _ = nudged.get(7).get(2).get(999).fill_(last_bit);
        let _ = relabelled.get(9).fill_(0);
        assert_eq!(differ(&nudged, &targets), [7]);
        assert_eq!(differ(&inputs, &relabelled), [9]);
        let swapped = inputs.index_select(2, &Tensor::from_slice(&[1i64, 0])).copy();
        let reordered = inputs.copy();
        reordered.narrow(2, 0, 2).copy_(&swapped);
        assert_eq!(differ(&reordered, &targets).len(), 200, "order within a row");
        let doubles = inputs.to_kind(Kind::Double);
        assert_eq!(of_rows([&targets, &doubles]).unwrap().len(), 200);
    }
}
