//! How present somebody is, and who wants to know.

use natterjack_domain::{UserId, presence::Availability};
use natterjack_wire::ErrorCode;

use super::{Outcome, Session};
use crate::fault::Fault;

impl Session {
    pub(super) fn present(
        &mut self,
        state: Option<Availability>,
        watch: Option<Vec<UserId>>,
    ) -> Result<Outcome, Fault> {
        let watch_max = self.context.presence.watch_max();
        if watch.as_ref().is_some_and(|watch| watch.len() > watch_max) {
            let why = format!("at most {watch_max} people are watched");
            return Err(Fault::from(ErrorCode::TooManyWatched).because(why));
        }
        let outbox = self.member.outbox.clone();
        let present = self.be_present(state);
        if let Some(watch) = watch {
            present.watch(outbox, watch);
        }
        Ok(Outcome::Done)
    }
}
