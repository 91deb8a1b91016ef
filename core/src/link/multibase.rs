//! The multibase spellings people paste: a prefix, then the bytes in that base.
//!
//! Why not the `multibase` crate? It has every base there is, emoji among them, and adds 79 KB of
//! code to a service worker that must be there before the first frame; a test holds this file to
//! it. Spec: <https://github.com/multiformats/multibase>.

const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BASE16: &[u8; 16] = b"0123456789abcdef";
const BASE64URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const BASE36: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Reads base 16, 32, 36, 58 (Bitcoin) or 64 (URL) with its prefix; bases without case in either.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut letters = text.chars();
    let prefix = letters.next()?;
    let body = letters.as_str().as_bytes();
    // "B", "F" and "K" promise upper case, the others lower; the digits are the same.
    let cased = |upper: bool| {
        let wrong = |byte: &u8| {
            if upper {
                byte.is_ascii_lowercase()
            } else {
                byte.is_ascii_uppercase()
            }
        };
        (!body.iter().any(wrong)).then(|| body.to_ascii_lowercase())
    };
    match prefix {
        'b' | 'B' => grouped(&cased(prefix == 'B')?, BASE32, 5),
        'f' | 'F' => grouped(&cased(prefix == 'F')?, BASE16, 4),
        'u' => grouped(body, BASE64URL, 6),
        'k' | 'K' => positional(&cased(prefix == 'K')?, BASE36),
        'z' => positional(body, BASE58),
        _ => None,
    }
}

/// Base 32, lower case, with its prefix.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut text = String::from("b");
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text.push(letter(BASE32, held >> bits & 31));
        }
    }
    if bits > 0 {
        text.push(letter(BASE32, held << (5 - bits) & 31));
    }
    text
}

/// Base 58 (Bitcoin), with its prefix.
pub(crate) fn base58(bytes: &[u8]) -> String {
    let mut digits: Vec<u8> = Vec::new();
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = low_byte(carry % 58);
            carry /= 58;
        }
        while carry > 0 {
            digits.push(low_byte(carry % 58));
            carry /= 58;
        }
    }
    let zeros = bytes.iter().take_while(|byte| **byte == 0).map(|_| '1');
    let digits = digits
        .iter()
        .rev()
        .map(|digit| letter(BASE58, u32::from(*digit)));
    std::iter::once('z').chain(zeros).chain(digits).collect()
}

/// Bases of a power of two: each letter is `width` bits.
fn grouped(body: &[u8], alphabet: &[u8], width: u32) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(body.len());
    let (mut held, mut bits) = (0u32, 0);
    for byte in body {
        held = (held << width | value(*byte, alphabet)?) & 0xffff;
        bits += width;
        if bits >= 8 {
            bits -= 8;
            bytes.push(low_byte(held >> bits));
        }
    }
    // What is left must be padding: less than a letter, and zero.
    let rest = held & ((1 << bits) - 1);
    (bits < width && rest == 0).then_some(bytes)
}

/// Other bases: the text is one number, most significant digit first.
fn positional(body: &[u8], alphabet: &[u8]) -> Option<Vec<u8>> {
    let base = u32::try_from(alphabet.len()).ok()?;
    let mut little: Vec<u8> = Vec::new();
    for byte in body {
        let mut carry = value(*byte, alphabet)?;
        for place in &mut little {
            carry += u32::from(*place) * base;
            *place = low_byte(carry);
            carry >>= 8;
        }
        if carry > 0 {
            little.push(low_byte(carry));
        }
    }
    let zeros = body
        .iter()
        .take_while(|byte| **byte == alphabet[0])
        .map(|_| 0);
    Some(zeros.chain(little.into_iter().rev()).collect())
}

fn value(byte: u8, alphabet: &[u8]) -> Option<u32> {
    let at = alphabet.iter().position(|letter| *letter == byte)?;
    u32::try_from(at).ok()
}

fn letter(alphabet: &[u8], value: u32) -> char {
    alphabet
        .get(value as usize)
        .map_or('?', |letter| char::from(*letter))
}

const fn low_byte(value: u32) -> u8 {
    (value & 0xff) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use ipld_core::cid::multibase::{self, Base};
    use proptest::prelude::*;

    const BASES: [Base; 8] = [
        Base::Base16Lower,
        Base::Base16Upper,
        Base::Base32Lower,
        Base::Base32Upper,
        Base::Base36Lower,
        Base::Base36Upper,
        Base::Base58Btc,
        Base::Base64Url,
    ];

    proptest! {
        #[test]
        fn agrees_with_the_multibase_crate(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            for base in BASES {
                let text = multibase::encode(base, &bytes);
                prop_assert_eq!(decode(&text), Some(bytes.clone()), "{}", text);
            }
            prop_assert_eq!(base32(&bytes), multibase::encode(Base::Base32Lower, &bytes));
            prop_assert_eq!(base58(&bytes), multibase::encode(Base::Base58Btc, &bytes));
        }

        #[test]
        fn whatever_it_reads_the_crate_reads_the_same(text in "[bBfFukKz][0-9a-zA-Z_-]{0,60}") {
            if let Some(bytes) = decode(&text) {
                let read = multibase::decode(&text).map(|(_, bytes)| bytes);
                prop_assert_eq!(read.ok(), Some(bytes), "{}", text);
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,80}") {
            let _ = decode(&text);
        }
    }
}
