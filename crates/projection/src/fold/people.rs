//! What people are.

use natterjack_domain::user;

use super::Fold;
use crate::entry::Entry;

#[derive(Debug, PartialEq, Eq)]
pub struct Person {
    pub username: String,
    pub registered_at: String,
}

impl Fold {
    pub(super) fn user(&mut self, event: user::Event, entry: &Entry) {
        match event {
            user::Event::Registered { id, username } => {
                let person = Person { username, registered_at: entry.ts.clone() };
                self.changes.people.entry(id).or_insert(person);
            }
            user::Event::ProfileChanged { id, profile } => {
                self.changes.profiles.insert(id, profile);
            }
            user::Event::Deactivated { id } => {
                self.changes.deactivated.entry(id).or_insert_with(|| entry.ts.clone());
            }
            kept => self.kept(kept, entry),
        }
    }
}
