//! Bytes as hex digits, without a detour: ids are read and written for every message that passes through.

/// A digit's value; 16 for what is none.
#[expect(clippy::indexing_slicing, reason = "done by the compiler")]
const VALUES: [u8; 256] = {
    let mut values = [16; 256];
    let mut n = 0;
    while n < 16 {
        let digit = DIGITS[n as usize];
        values[digit as usize] = n;
        values[digit.to_ascii_uppercase() as usize] = n;
        n += 1;
    }
    values
};

const DIGITS: [u8; 16] = *b"0123456789abcdef";

/// The bytes that exactly these digits stand for, in whichever case.
pub(crate) fn read<const N: usize>(text: &str) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let (mut bytes, mut wrong) = ([0; N], 0);
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        let (high, low) = (value(*high), value(*low));
        wrong |= high | low;
        *byte = high << 4 | low;
    }
    (wrong < 16).then_some(bytes)
}

/// The digits of sixteen bytes, in lower case.
pub(crate) fn write(bytes: [u8; 16]) -> [u8; 32] {
    let mut digits = [0; 32];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

fn value(digit: u8) -> u8 {
    VALUES.get(usize::from(digit)).copied().unwrap_or(16)
}

fn digit(value: u8) -> u8 {
    DIGITS.get(usize::from(value)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn they_are_those_of_the_hex_crate(bytes: [u8; 16], text in "[0-9a-fA-Fg]{30,34}") {
            let digits = write(bytes);
            prop_assert_eq!(str::from_utf8(&digits).unwrap(), hex::encode(bytes));
            prop_assert_eq!(read(str::from_utf8(&digits).unwrap()), Some(bytes));
            let mut expected = [0; 16];
            let is_read = hex::decode_to_slice(&text, &mut expected).is_ok();
            prop_assert_eq!(read(&text), is_read.then_some(expected));
        }
    }
}
