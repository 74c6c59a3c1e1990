//! Who is there, as the person's devices say and as others see it.

use serde::{Deserialize, Serialize};

/// What one device says of its person; the later ones are the more present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub enum Availability {
    Away,
    Busy,
    Online,
    /// There, but not to be seen.
    Invisible,
}

/// What others see of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub enum Presence {
    Online,
    Busy,
    Away,
    Offline,
}

impl Availability {
    /// What several devices come to, wherever they are connected: the most present one counts, and one that is not to be
    /// seen hides them all.
    pub fn of_all(devices: impl IntoIterator<Item = Self>) -> Option<Self> {
        devices.into_iter().max()
    }

    /// What others see where devices come to this.
    pub const fn seen(self) -> Presence {
        match self {
            Self::Away => Presence::Away,
            Self::Busy => Presence::Busy,
            Self::Online => Presence::Online,
            Self::Invisible => Presence::Offline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Availability::*, *};

    #[test]
    fn the_most_present_device_counts_and_one_that_hides_hides_all() {
        let cases: [(&[Availability], Presence); 9] = [
            (&[], Presence::Offline),
            (&[Away], Presence::Away),
            (&[Busy], Presence::Busy),
            (&[Online], Presence::Online),
            (&[Invisible], Presence::Offline),
            (&[Away, Busy], Presence::Busy),
            (&[Busy, Online, Away], Presence::Online),
            (&[Online, Invisible], Presence::Offline),
            (&[Invisible, Away, Online], Presence::Offline),
        ];
        for (devices, expected) in cases {
            let seen =
                Availability::of_all(devices.iter().copied()).map_or(Presence::Offline, Availability::seen);
            assert_eq!(seen, expected, "{devices:?}");
        }
    }
}
