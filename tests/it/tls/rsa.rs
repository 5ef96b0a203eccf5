//! RSA by hand, of any length and with any hash: for certificates that nobody should make any more.

use aws_lc_rs::digest;
use x509_parser::num_bigint::BigUint;

use super::der::{bits, integer, octets, oid, sequence, tlv};

/// The hash of an RSA signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// A key pair. It signs as PKCS #1 version 1.5 does (RFC 8017, 8.2.1), and keeps nothing secret.
pub(crate) struct Rsa {
    modulus: BigUint,
    private: BigUint,
    bits: u64,
}

const EXPONENT: u32 = 65_537;

impl Rsa {
    /// The same one for the same seed.
    pub(super) fn new(bits: u64, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let one = BigUint::from(1u32);
        let exponent = BigUint::from(EXPONENT);
        loop {
            let (p, q) = (
                prime(bits / 2, &mut random),
                prime(bits - bits / 2, &mut random),
            );
            let order = (&p - &one) * (&q - &one);
            let modulus = p * q;
            if modulus.bits() == bits
                && let Some(private) = exponent.modinv(&order)
            {
                return Self {
                    modulus,
                    private,
                    bits,
                };
            }
        }
    }

    /// The SubjectPublicKeyInfo.
    pub(super) fn public(&self) -> Vec<u8> {
        let algorithm = sequence(&[&oid("1.2.840.113549.1.1.1"), &tlv(5, &[])]);
        let exponent = integer(&EXPONENT.to_be_bytes());
        let public = sequence(&[&integer(&self.modulus.to_bytes_be()), &exponent]);
        sequence(&[&algorithm, &bits(&public)])
    }

    pub(super) fn sign(&self, hash: Hash, message: &[u8]) -> Vec<u8> {
        let (algorithm, identifier) = match hash {
            Hash::Sha1 => (&digest::SHA1_FOR_LEGACY_USE_ONLY, "1.3.14.3.2.26"),
            Hash::Sha256 => (&digest::SHA256, "2.16.840.1.101.3.4.2.1"),
            Hash::Sha384 => (&digest::SHA384, "2.16.840.1.101.3.4.2.2"),
            Hash::Sha512 => (&digest::SHA512, "2.16.840.1.101.3.4.2.3"),
        };
        let digest = digest::digest(algorithm, message);
        let identifier = sequence(&[&oid(identifier), &tlv(5, &[])]);
        let info = sequence(&[&identifier, &octets(digest.as_ref())]);
        let length = self.bits.div_ceil(8) as usize;
        let padding = vec![0xff; length - info.len() - 3];
        let block = [&[0, 1][..], &padding, &[0], &info].concat();
        let signature = BigUint::from_bytes_be(&block).modpow(&self.private, &self.modulus);
        let signature = signature.to_bytes_be();
        [vec![0; length - signature.len()], signature].concat()
    }
}

/// A prime of exactly this length, its two highest bits set.
fn prime(bits: u64, random: &mut fastrand::Rng) -> BigUint {
    let small: Vec<u32> = (3..2000u32)
        .filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
        .collect();
    loop {
        let bytes: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
            .take(bits.div_ceil(8) as usize)
            .collect();
        let mut candidate = BigUint::from_bytes_be(&bytes) >> (bits.div_ceil(8) * 8 - bits);
        for bit in [0, bits - 1, bits - 2] {
            candidate.set_bit(bit, true);
        }
        let divisible = small.iter().any(|n| &candidate % *n == BigUint::from(0u32));
        if !divisible && is_prime(&candidate, random) {
            return candidate;
        }
    }
}

/// Miller and Rabin's test, in a dozen rounds.
fn is_prime(candidate: &BigUint, random: &mut fastrand::Rng) -> bool {
    let one = BigUint::from(1u32);
    let before = candidate - &one;
    let twos = before.trailing_zeros().unwrap();
    let odd = &before >> twos;
    (0..12).all(|_| {
        let mut power = BigUint::from(random.u64(2..)).modpow(&odd, candidate);
        power == one
            || (0..twos).any(|_| {
                let found = power == before;
                power = power.modpow(&BigUint::from(2u32), candidate);
                found
            })
    })
}
