//! What finding the differences costs with the negentropy crate, on sets like ours: many records, written
//! over the last day, some of them replaced on either side since.

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use sha2::{Digest as _, Sha256};

use crate::{Result, show, spread};

pub(crate) fn run(records: u32, differ: u32) -> Result<()> {
    let step = records / differ;
    let [mut a, mut b] = [(); 2].map(|()| NegentropyStorageVector::new());
    let replaced = |n: u32, side: u32| n % (2 * step) == side * step;
    for n in 0..records {
        a.insert(time(n, replaced(n, 0), records), id(n, u32::from(replaced(n, 0))))?;
        b.insert(time(n, replaced(n, 1), records), id(n, 2 * u32::from(replaced(n, 1))))?;
    }
    a.seal()?;
    b.seal()?;
    // Once for the bytes; the time is that of five.
    let (mut bytes, mut secs) = ((0, 0), Vec::new());
    for _ in 0..5 {
        let begin = std::time::Instant::now();
        bytes = exchange(&a, &b)?;
        secs.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    println!("| negentropy on such sets | figure |\n|---|---|");
    println!("| bytes of its messages | {} B |", bytes.0);
    println!("| messages | {} |", bytes.1);
    println!("| records that it finds differing (old and new ones) | {} |", 2 * differ);
    println!("| time, in memory, ms | {} |", show(spread(secs), 1));
    println!("| memory for the ids of one side | {} B |\n", records as usize * 40);
    Ok(())
}

fn exchange(a: &NegentropyStorageVector, b: &NegentropyStorageVector) -> Result<(usize, usize)> {
    let (mut asking, mut answering) = (Negentropy::borrowed(a, 0)?, Negentropy::borrowed(b, 0)?);
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut question = asking.initiate()?;
    let (mut bytes, mut messages) = (0, 0);
    loop {
        let answer = answering.reconcile(&question)?;
        (bytes, messages) = (bytes + question.len() + answer.len(), messages + 2);
        match asking.reconcile_with_ids(&answer, &mut have, &mut need)? {
            Some(next) => question = next,
            None => return Ok((bytes, messages)),
        }
    }
}

/// In milliseconds: the old ones over a day, in no order of their keys, the new ones after it.
fn time(n: u32, is_new: bool, records: u32) -> u64 {
    let day = 86_400_000;
    if is_new {
        day + u64::from(n)
    } else {
        u64::from(n) * 7919 % u64::from(records) * day / u64::from(records)
    }
}

fn id(n: u32, round: u32) -> Id {
    let hash: [u8; 32] = Sha256::digest([n.to_be_bytes(), round.to_be_bytes()].concat()).into();
    Id::from_byte_array(hash)
}
