//! What a person is told of, and when not.

use serde::{Deserialize, Serialize};

/// Most times of the week at which one is not disturbed.
pub const QUIET_HOURS_MAX: usize = 28;
const ZONE_MAX_BYTES: usize = 64;
const DAY_MIN: u16 = 24 * 60;

/// Which messages of a room a person is told of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub enum NotifyLevel {
    #[default]
    All,
    /// Only those that mention the person.
    Mentions,
    Nothing,
}

impl NotifyLevel {
    pub const ALL: [Self; 3] = [Self::All, Self::Mentions, Self::Nothing];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Mentions => "mentions",
            Self::Nothing => "nothing",
        }
    }
}

/// When a person does not want to be disturbed: in the hours of the week, and until a moment. Clients keep to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub struct DoNotDisturb {
    /// Name of the time zone (IANA) of the hours; there is one if there are hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional))]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", ts(optional, as = "Option<Vec<QuietHours>>"))]
    pub hours: Vec<QuietHours>,
    /// Milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", ts(optional, type = "number"))]
    pub until: Option<u64>,
}

/// From a minute of a day of the week to another one: of the next day where that is not later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(ts_rs::TS, utoipa::ToSchema))]
pub struct QuietHours {
    /// 1 for Monday to 7 for Sunday.
    pub day: u8,
    /// 0–1439.
    pub from_min: u16,
    /// 0–1440.
    pub to_min: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuiet {
    #[error("at most {QUIET_HOURS_MAX} times of the week can be named")]
    TooMany,
    #[error("a day is 1 to 7, a minute of it below 1440")]
    NoSuchTime,
    #[error("hours need the name of a time zone")]
    NoZone,
}

impl DoNotDisturb {
    /// Whether it means something. That there is such a time zone is for who has the list of them.
    pub fn check(&self) -> Result<(), InvalidQuiet> {
        if self.hours.len() > QUIET_HOURS_MAX {
            return Err(InvalidQuiet::TooMany);
        }
        let exists = |h: &QuietHours| (1..=7).contains(&h.day) && h.from_min < DAY_MIN && h.to_min <= DAY_MIN;
        if !self.hours.iter().all(exists) {
            return Err(InvalidQuiet::NoSuchTime);
        }
        match &self.zone {
            Some(zone) if zone.is_empty() || zone.len() > ZONE_MAX_BYTES => Err(InvalidQuiet::NoZone),
            None if !self.hours.is_empty() => Err(InvalidQuiet::NoZone),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_of_the_week_and_of_a_zone() {
        let zone = Some("Europe/Berlin".to_owned());
        let hours = |day, from_min, to_min| DoNotDisturb {
            zone: zone.clone(),
            hours: vec![QuietHours { day, from_min, to_min }],
            until: None,
        };
        assert_eq!(DoNotDisturb::default().check(), Ok(()));
        for good in [hours(1, 0, 1_440), hours(7, 1_439, 0), hours(3, 22 * 60, 7 * 60)] {
            assert_eq!(good.check(), Ok(()));
        }
        for bad in [hours(0, 0, 1), hours(8, 0, 1), hours(1, 1_440, 1), hours(1, 0, 1_441)] {
            assert_eq!(bad.check(), Err(InvalidQuiet::NoSuchTime), "{bad:?}");
        }
        for zone in [None, Some(String::new()), Some("x".repeat(65))] {
            assert_eq!(DoNotDisturb { zone, ..hours(1, 0, 1) }.check(), Err(InvalidQuiet::NoZone));
        }
        let many = vec![QuietHours { day: 1, from_min: 0, to_min: 1 }; QUIET_HOURS_MAX + 1];
        assert_eq!(DoNotDisturb { hours: many, ..hours(1, 0, 1) }.check(), Err(InvalidQuiet::TooMany));
    }
}
