//! What a front stands on: the log, the second copy of it in Postgres, and sockets. Its own unit tests stand it on a model
//! of them, where time and all that can go wrong follow from a seed ([`crate::model`]); docs/adr/0017 says why so.

#[cfg(not(test))]
pub use self::real::*;
#[cfg(test)]
pub use crate::model::outside::*;

#[cfg(not(test))]
mod real {
    use natterjack_domain::RoomId;
    use natterjack_eventlog::Topic;
    use natterjack_readmodel::{self as readmodel, AsOf, Error, events};
    use natterjack_wire::Position;

    pub use std::collections::HashMap;

    pub use natterjack_eventlog::{Feeds, Live, Log};
    pub use tokio::net::tcp::{OwnedReadHalf as ReadHalf, OwnedWriteHalf as WriteHalf};

    use crate::store::Store;

    impl Store {
        pub(crate) async fn probe(&self, stream: u16) -> Result<Position, Error> {
            self.query(async |c| readmodel::probe(&c, stream).await).await
        }

        pub(crate) async fn state_events(
            &self,
            stream: u16,
            room: RoomId,
        ) -> Result<AsOf<Vec<events::LogEvent>>, Error> {
            self.query(async |c| events::room_state_events(&c, stream, room).await).await
        }

        pub(crate) async fn topic_events(
            &self,
            stream: u16,
            topic: Topic,
            after: u64,
            limit: u32,
        ) -> Result<AsOf<Vec<events::LogEvent>>, Error> {
            self.query(async |c| match topic {
                Topic::Room(room) => events::events_after(&c, stream, room, after, limit).await,
                Topic::User(user) => events::feed_after(&c, stream, user, after, limit).await,
            })
            .await
        }
    }
}
