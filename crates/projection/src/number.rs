//! Sequences are `u64` here and `bigint` in Postgres.

/// A sequence of 2^63 is out of reach; what a body claims is checked where it is decoded.
pub fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub fn unsigned(number: i64) -> u64 {
    number.try_into().unwrap_or(0)
}

pub fn stream(stream: u16) -> i16 {
    i16::try_from(stream).unwrap_or(i16::MAX)
}

/// For gauges.
#[expect(clippy::cast_precision_loss, reason = "a sequence beyond 2^53 is out of reach")]
pub fn float(number: u64) -> f64 {
    number as f64
}
