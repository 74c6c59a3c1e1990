//! Those who are connected to other fronts, as these tell of them.

use std::collections::{BTreeMap, HashMap};

use natterjack_domain::UserId;
use tokio::time::{Duration, Instant};

use super::words::{Entry, FrontId, Said};

/// Who does not answer is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// Words kept of a front whose table is still to come; beyond them it is asked anew.
const EARLY_MAX: usize = 256;
/// Pages of one table.
const PAGES_MAX: u32 = 10_000;

#[derive(Default)]
pub struct Others {
    fronts: BTreeMap<FrontId, Other>,
}

struct Other {
    heard: Instant,
    /// The version of `people`; none until there was one whole table.
    version: Option<u64>,
    /// The latest version that it has spoken of.
    latest: u64,
    people: HashMap<UserId, Said>,
    /// What came before what it stands on.
    early: BTreeMap<u64, Vec<Entry>>,
    coming: Option<Coming>,
    asked: Option<Instant>,
}

/// A table of which not all pages are here.
struct Coming {
    version: u64,
    pages: BTreeMap<u32, Vec<Entry>>,
}

/// A front that was silent for too long.
pub struct Lost {
    pub heard: Instant,
    pub people: Vec<(UserId, Said)>,
}

impl Others {
    pub fn of(&self, user: UserId) -> impl Iterator<Item = Said> {
        self.fronts.values().filter_map(move |front| front.people.get(&user).copied())
    }

    /// The front that is to do what one of them has to do.
    pub fn least(&self) -> Option<FrontId> {
        self.fronts.keys().next().copied()
    }

    fn heard(&mut self, front: FrontId, version: u64, now: Instant) -> &mut Other {
        let other = self.fronts.entry(front).or_insert_with(|| Other {
            heard: now,
            version: None,
            latest: 0,
            people: HashMap::new(),
            early: BTreeMap::new(),
            coming: None,
            asked: None,
        });
        other.heard = now;
        other.latest = other.latest.max(version);
        other
    }

    pub fn alive(&mut self, front: FrontId, version: u64, now: Instant) {
        self.heard(front, version, now);
    }

    /// Answers whose entries changed; so do the next two.
    pub fn changed(&mut self, front: FrontId, version: u64, people: Vec<Entry>, now: Instant) -> Vec<UserId> {
        let other = self.heard(front, version, now);
        if other.version.is_some_and(|known| version <= known) {
            return vec![];
        }
        if other.early.len() >= EARLY_MAX {
            other.early.clear();
        }
        other.early.insert(version, people);
        other.catch_up()
    }

    pub fn page(
        &mut self,
        front: FrontId,
        version: u64,
        (page, pages): (u32, u32),
        people: Vec<Entry>,
        now: Instant,
    ) -> Vec<UserId> {
        let other = self.heard(front, version, now);
        if page >= pages || pages > PAGES_MAX || other.version.is_some_and(|known| version <= known) {
            return vec![];
        }
        // While pages come, there is no reason to ask again.
        other.asked = Some(now);
        let coming = other.coming.take_if(|coming| coming.version == version);
        let mut coming = coming.unwrap_or(Coming { version, pages: BTreeMap::new() });
        coming.pages.insert(page, people);
        if coming.pages.len() < pages as usize {
            other.coming = Some(coming);
            return vec![];
        }
        let all = coming.pages.into_values().flatten();
        let mut touched = other.replace(all.filter_map(|entry| Some((entry.user, entry.said?))).collect());
        other.version = Some(version);
        other.early.retain(|early, _| *early > version);
        touched.extend(other.catch_up());
        touched
    }

    pub fn gone(&mut self, front: FrontId) -> Vec<UserId> {
        self.fronts.remove(&front).map(|other| other.people.into_keys().collect()).unwrap_or_default()
    }

    /// Fronts that have not been heard since `before`: forgotten.
    pub fn lost(&mut self, before: Instant) -> Vec<Lost> {
        let lost = self.fronts.extract_if(.., |_, other| other.heard < before);
        lost.map(|(_, other)| Lost { heard: other.heard, people: other.people.into_iter().collect() })
            .collect()
    }

    /// Those who have to be asked for their tables.
    pub fn ask_whom(&mut self, now: Instant) -> Vec<FrontId> {
        let mut fronts = vec![];
        for (front, other) in &mut self.fronts {
            let is_behind = other.version.is_none_or(|known| known < other.latest);
            if is_behind && other.asked.is_none_or(|asked| now.duration_since(asked) >= ASK_AGAIN) {
                other.asked = Some(now);
                fronts.push(*front);
            }
            if !is_behind {
                other.asked = None;
            }
        }
        fronts
    }
}

impl Other {
    /// Applies what follows what is known.
    fn catch_up(&mut self) -> Vec<UserId> {
        let mut touched = vec![];
        while let Some(version) = self.version
            && let Some(people) = self.early.remove(&(version + 1))
        {
            self.version = Some(version + 1);
            for Entry { user, said } in people {
                touched.push(user);
                match said {
                    Some(said) => self.people.insert(user, said),
                    None => self.people.remove(&user),
                };
            }
        }
        touched
    }

    fn replace(&mut self, people: HashMap<UserId, Said>) -> Vec<UserId> {
        let before = std::mem::replace(&mut self.people, people);
        let came = self.people.iter().filter(|(user, said)| before.get(user) != Some(said));
        let went = before.keys().filter(|user| !self.people.contains_key(user));
        came.map(|(user, _)| *user).chain(went.copied()).collect()
    }
}
