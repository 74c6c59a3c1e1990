//! Rates: of requests and frames for each person, of attempts at authentication for each address; and how many
//! connections an address has.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use axum::http::HeaderMap;
use governor::{
    DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
};
use natterjack_domain::UserId;
use natterjack_wire::ErrorCode;
use parking_lot::Mutex;

use crate::{
    config::{HttpConfig, SearchConfig, SocketConfig},
    fault::Fault,
    metrics,
};

pub struct Limiter {
    people: DefaultKeyedRateLimiter<UserId>,
    /// Frames of all connections of a person.
    frames: DefaultKeyedRateLimiter<UserId>,
    searches: DefaultKeyedRateLimiter<UserId>,
    uploads: DefaultKeyedRateLimiter<UserId>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    registrations: DefaultKeyedRateLimiter<IpAddr>,
    /// Attempts at passwords, by a hash of the name that is tried, whether somebody has it or not.
    passwords: DefaultKeyedRateLimiter<u64>,
    names: RandomState,
    connections: Mutex<HashMap<IpAddr, usize>>,
    connections_per_address: usize,
    clock: DefaultClock,
    trust_proxy: bool,
}

/// A connection that counts for its address until it is dropped.
pub struct AddressSlot {
    limiter: Arc<Limiter>,
    network: IpAddr,
}

impl Limiter {
    pub fn new(config: &HttpConfig, sockets: &SocketConfig, search: &SearchConfig) -> Self {
        let number = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let requests = Quota::per_second(number(config.requests_per_second))
            .allow_burst(number(config.requests_per_second.saturating_mul(2)));
        let frames =
            Quota::per_second(number(sockets.frames_per_second)).allow_burst(number(sockets.frames_burst));
        let searches =
            Quota::per_minute(number(search.per_minute)).allow_burst(number(search.per_minute.div_ceil(6)));
        Self {
            people: RateLimiter::keyed(requests),
            frames: RateLimiter::keyed(frames),
            searches: RateLimiter::keyed(searches),
            uploads: RateLimiter::keyed(Quota::per_minute(number(config.uploads_per_minute))),
            connections: Mutex::default(),
            connections_per_address: config.connections_per_address,
            addresses: RateLimiter::keyed(Quota::per_minute(number(config.auth_per_minute))),
            registrations: RateLimiter::keyed(Quota::per_hour(number(config.registrations_per_hour))),
            passwords: RateLimiter::keyed(Quota::per_minute(number(config.passwords_per_minute))),
            names: RandomState::new(),
            clock: DefaultClock::default(),
            trust_proxy: config.trust_proxy,
        }
    }

    pub fn person(&self, user: UserId) -> Result<(), Fault> {
        self.people.check_key(&user).map_err(|not| self.refuse("person", ErrorCode::RateLimited, &not))
    }

    pub fn frame(&self, user: UserId) -> Result<(), Fault> {
        self.frames.check_key(&user).map_err(|not| self.refuse("frames", ErrorCode::RateLimited, &not))
    }

    /// A search costs more than any other request.
    pub fn search(&self, user: UserId) -> Result<(), Fault> {
        let refuse = |not| self.refuse("searches", ErrorCode::SearchesLimited, &not);
        self.searches.check_key(&user).map_err(refuse)
    }

    pub fn upload(&self, user: UserId) -> Result<(), Fault> {
        self.uploads.check_key(&user).map_err(|not| self.refuse("uploads", ErrorCode::RateLimited, &not))
    }

    pub fn attempt(&self, address: IpAddr) -> Result<(), Fault> {
        let checked = self.addresses.check_key(&network(address));
        checked.map_err(|not| {
            self.refuse("address", ErrorCode::RateLimited, &not)
                .because("too many attempts from this address")
        })
    }

    pub fn registration(&self, address: IpAddr) -> Result<(), Fault> {
        let checked = self.registrations.check_key(&network(address));
        let why = "too many accounts were made from this address";
        checked.map_err(|not| self.refuse("registrations", ErrorCode::RateLimited, &not).because(why))
    }

    /// An attempt at the password of whoever logs in by `name`.
    pub fn password(&self, name: &str) -> Result<(), Fault> {
        let checked = self.passwords.check_key(&self.names.hash_one(name.to_lowercase()));
        let why = "too many attempts at the password of this account";
        checked.map_err(|not| self.refuse("passwords", ErrorCode::RateLimited, &not).because(why))
    }

    /// Counts a connection, as long as what it gives is kept.
    pub fn connection(self: &Arc<Self>, address: IpAddr) -> Result<AddressSlot, Fault> {
        let network = network(address);
        let mut connections = self.connections.lock();
        let count = connections.entry(network).or_default();
        if *count >= self.connections_per_address {
            metrics::rate_limited("connections");
            return Err(Fault::from(ErrorCode::RateLimited).because("too many connections of this address"));
        }
        *count += 1;
        Ok(AddressSlot { limiter: self.clone(), network })
    }

    /// Whose request it is. `peer`: the other end of the connection.
    pub fn address(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
        self.forwarded(headers).or(peer)
    }

    /// Forgets those who have not been seen for a while: to be called now and then.
    pub fn prune(&self) {
        self.people.retain_recent();
        self.frames.retain_recent();
        self.searches.retain_recent();
        self.uploads.retain_recent();
        self.addresses.retain_recent();
        self.registrations.retain_recent();
        self.passwords.retain_recent();
    }

    /// The last address of the last line: the one that our own proxy wrote, into a line of its own or not.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers.get_all("x-forwarded-for").iter().filter(|_| self.trust_proxy);
        lines.last()?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    }

    fn refuse(&self, which: &'static str, code: ErrorCode, not: &NotUntil<QuantaInstant>) -> Fault {
        metrics::rate_limited(which);
        let wait = not.wait_time_from(self.clock.now()).max(Duration::from_millis(1));
        Fault::from(code).retry_after(wait)
    }
}

impl Drop for AddressSlot {
    fn drop(&mut self) {
        let mut connections = self.limiter.connections.lock();
        if let Some(count) = connections.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                connections.remove(&self.network);
            }
        }
    }
}

/// One household or server has a whole /64 of IPv6. An IPv4 address is one, also where it comes as IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.into(),
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
        Limiter::new(
            &HttpConfig::read(&mut reader),
            &SocketConfig::read(&mut reader),
            &SearchConfig::read(&mut reader),
        )
    }

    #[test]
    fn an_address_has_its_attempts_and_a_stranger_his_own() {
        let limiter = limiter(&[("NATTERJACK_AUTH_PER_MINUTE", "2")]);
        let from = |text: &str| limiter.attempt(text.parse().unwrap());
        assert!(from("192.0.2.1").is_ok() && from("192.0.2.1").is_ok());
        assert_eq!(from("192.0.2.1").unwrap_err().code, ErrorCode::RateLimited);
        assert!(from("192.0.2.2").is_ok());
        assert!(from("2001:db8::1").is_ok() && from("2001:db8::2").is_ok());
        assert!(from("2001:db8::3").is_err());
        assert!(from("::ffff:192.0.2.2").is_ok() && from("::ffff:192.0.2.9").is_ok());
        assert!(from("::ffff:192.0.2.2").is_err());
    }

    #[test]
    fn a_name_has_its_attempts_however_it_is_written_and_whoever_tries() {
        let limiter = limiter(&[("NATTERJACK_PASSWORDS_PER_MINUTE", "2")]);
        assert!(limiter.password("ada").is_ok() && limiter.password("ADA").is_ok());
        let refused = limiter.password("Ada").unwrap_err();
        assert_eq!(refused.code, ErrorCode::RateLimited);
        assert!(limiter.password("bob").is_ok());
    }

    #[test]
    fn a_forged_header_counts_only_behind_a_proxy() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.9".parse().unwrap());
        headers.append("x-forwarded-for", "192.0.2.1, 198.51.100.7".parse().unwrap());
        let trusting = limiter(&[("NATTERJACK_TRUST_PROXY", "true")]);
        assert_eq!(trusting.forwarded(&headers), "198.51.100.7".parse().ok());
        assert_eq!(limiter(&[]).forwarded(&headers), None);
    }

    #[test]
    fn an_address_has_so_many_connections() {
        let limiter = Arc::new(limiter(&[("NATTERJACK_CONNECTIONS_PER_ADDRESS", "2")]));
        let connect = |text: &str| limiter.connection(text.parse().unwrap());
        let first = connect("192.0.2.1").unwrap();
        let _second = connect("192.0.2.1").unwrap();
        assert!(connect("192.0.2.1").is_err());
        assert!(connect("192.0.2.2").is_ok());
        drop(first);
        assert!(connect("192.0.2.1").is_ok());
    }
}
