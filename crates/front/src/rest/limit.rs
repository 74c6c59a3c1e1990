//! Rates: of requests for each person, of attempts at authentication for each address.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

use axum::http::HeaderMap;
use governor::{
    DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
};
use natterjack_domain::UserId;
use natterjack_wire::ErrorCode;

use crate::{config::HttpConfig, fault::Fault, metrics};

pub struct Limiter {
    people: DefaultKeyedRateLimiter<UserId>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    trust_proxy: bool,
}

impl Limiter {
    pub fn new(config: &HttpConfig) -> Self {
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let requests = Quota::per_second(number(config.requests_per_second))
            .allow_burst(number(config.requests_per_second.saturating_mul(2)));
        Self {
            people: RateLimiter::keyed(requests),
            addresses: RateLimiter::keyed(Quota::per_minute(number(config.auth_per_minute))),
            clock: DefaultClock::default(),
            trust_proxy: config.trust_proxy,
        }
    }

    pub fn person(&self, user: UserId) -> Result<(), Fault> {
        self.people.check_key(&user).map_err(|not| self.refuse("person", &not))
    }

    /// `peer`: the other end of the connection.
    pub fn attempt(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Fault> {
        let Some(address) = self.forwarded(headers).or(peer) else { return Ok(()) };
        self.addresses.check_key(&network(address)).map_err(|not| self.refuse("address", &not))
    }

    /// Forgets those who have not been seen for a while: to be called now and then.
    pub fn prune(&self) {
        self.people.retain_recent();
        self.addresses.retain_recent();
    }

    /// The last address: the one that our own proxy wrote.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let value = headers.get("x-forwarded-for").filter(|_| self.trust_proxy)?.to_str().ok()?;
        value.rsplit(',').next()?.trim().parse().ok()
    }

    fn refuse(&self, which: &'static str, not: &NotUntil<QuantaInstant>) -> Fault {
        metrics::rate_limited(which);
        let wait = not.wait_time_from(self.clock.now()).max(Duration::from_millis(1));
        Fault::from(ErrorCode::RateLimited).retry_after(wait)
    }
}

/// One household or server has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use natterjack_runtime::config::Reader;

    use super::*;

    fn limiter(pairs: &[(&str, &str)]) -> Limiter {
        let pairs = pairs.iter().map(|(k, v)| ((*k).to_string(), (*v).to_string()));
        let mut reader = Reader::from_pairs(pairs);
        Limiter::new(&HttpConfig::read(&mut reader))
    }

    #[test]
    fn an_address_has_its_attempts_and_a_stranger_his_own() {
        let limiter = limiter(&[("NATTERJACK_AUTH_PER_MINUTE", "2")]);
        let from = |text: &str| limiter.attempt(text.parse().ok(), &HeaderMap::new());
        assert!(from("192.0.2.1").is_ok() && from("192.0.2.1").is_ok());
        assert_eq!(from("192.0.2.1").unwrap_err().code, ErrorCode::RateLimited);
        assert!(from("192.0.2.2").is_ok());
        assert!(from("2001:db8::1").is_ok() && from("2001:db8::2").is_ok());
        assert!(from("2001:db8::3").is_err());
    }

    #[test]
    fn a_forged_header_counts_only_behind_a_proxy() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "203.0.113.9, 198.51.100.7".parse().unwrap());
        let trusting = limiter(&[("NATTERJACK_TRUST_PROXY", "true")]);
        assert_eq!(trusting.forwarded(&headers), "198.51.100.7".parse().ok());
        assert_eq!(limiter(&[]).forwarded(&headers), None);
    }
}
