//! The way out of a topic: whoever gets its events, and the frames that wait to be written to them together.

use bytes::{Bytes, BytesMut};
use natterjack_domain::UserId;

use super::command::{ConnId, Member};
use crate::ws::outbox::Lag;

/// What is pending is joined once, and the joined bytes are shared by all members: nothing is copied or allocated for
/// a delivery unless a socket blocks.
#[derive(Default)]
pub struct Fanout {
    members: Vec<Member>,
    /// Those whose position lies beyond the topic's head: they were told more on another front, or the position is a
    /// checkpoint's. They get nothing up to it again.
    ahead: Vec<(u64, Member)>,
    pending: Vec<Bytes>,
    /// The topic's head before the first pending frame.
    pending_after: u64,
}

impl Fanout {
    pub fn is_empty(&self) -> bool {
        self.members.is_empty() && self.ahead.is_empty()
    }

    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().chain(self.ahead.iter().map(|(_, member)| member))
    }

    pub fn has(&self, conn: ConnId) -> bool {
        self.members().any(|member| member.conn == conn)
    }

    /// A connection that is a member already is one afresh.
    pub fn add(&mut self, member: Member) {
        self.remove(member.conn);
        self.members.push(member);
    }

    /// The same for one that has everything up to `position`, where the topic itself is not yet.
    pub fn add_ahead(&mut self, member: Member, position: u64) {
        self.remove(member.conn);
        self.ahead.push((position, member));
    }

    /// Whether somebody who is ahead gets the event `seq`; what is pending is not for them.
    pub fn is_awaited(&self, seq: u64) -> bool {
        self.ahead.iter().any(|(position, _)| *position < seq)
    }

    /// Has those who are ahead of everything before `seq` get what is pushed from now on.
    pub fn catch_up_with(&mut self, seq: u64) {
        let caught_up = self.ahead.extract_if(.., |(position, _)| *position < seq);
        self.members.extend(caught_up.map(|(_, member)| member));
    }

    pub fn remove(&mut self, conn: ConnId) {
        self.members.retain(|member| member.conn != conn);
        self.ahead.retain(|(_, member)| member.conn != conn);
    }

    /// Lets go of all connections of a person.
    pub fn remove_user(&mut self, user: UserId) {
        self.members.retain(|member| member.user != user);
        self.ahead.retain(|(_, member)| member.user != user);
    }

    /// Lets go of everyone.
    pub fn take_members(&mut self) -> Vec<Member> {
        let ahead = std::mem::take(&mut self.ahead).into_iter().map(|(_, member)| member);
        std::mem::take(&mut self.members).into_iter().chain(ahead).collect()
    }

    /// Has a frame wait for the next [`Self::flush`]. `after`: the topic's head before it.
    pub fn push(&mut self, frame: Bytes, after: u64) {
        if self.pending.is_empty() {
            self.pending_after = after;
        }
        self.pending.push(frame);
    }

    /// Writes what is pending to every member, and gives the number of deliveries. A member whose outbox is full is
    /// let go: its session comes back for what follows `lag`, which is made from the head before the first frame.
    pub fn flush(&mut self, lag: impl Fn(u64) -> Lag) -> usize {
        let frames = match self.pending.as_slice() {
            [] => return 0,
            [one] => one.clone(),
            many => {
                let mut joined = BytesMut::with_capacity(many.iter().map(Bytes::len).sum());
                for frame in many {
                    joined.extend_from_slice(frame);
                }
                joined.freeze()
            }
        };
        let deliveries = self.pending.len() * self.members.len();
        let after = self.pending_after;
        self.members.retain(|member| member.outbox.push_events(&frames, || lag(after)));
        self.pending.clear();
        deliveries
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use natterjack_domain::RoomId;
    use natterjack_eventlog::Topic;
    use tokio::{
        io::AsyncReadExt as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;
    use crate::{position::Reached, ws::outbox::Outbox};

    async fn member(conn: ConnId, limit: usize) -> (Member, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let (_, write) = server.into_split();
        (Member { conn, user: UserId::random(), outbox: Arc::new(Outbox::new(write.into(), limit)) }, client)
    }

    fn lag(after: u64) -> Lag {
        Lag { topic: Topic::Room(RoomId::random()), epoch: None, reached: Reached::named(after), reset: None }
    }

    /// Allocations of one flush to `count` members that read.
    async fn allocations(count: u64, frames: &[Bytes]) -> u64 {
        let (mut fanout, mut clients) = (Fanout::default(), vec![]);
        for conn in 0..count {
            let (member, client) = member(conn, 1 << 20).await;
            fanout.add(member);
            clients.push(client);
        }
        let mut flushed = 0;
        let mut flush = || {
            for frame in frames {
                fanout.push(frame.clone(), 0);
            }
            flushed = allocation_counter::measure(|| assert!(fanout.flush(lag) > 0)).count_total;
        };
        // The first one makes room for what is pending.
        flush();
        flush();
        let expected: usize = 2 * frames.iter().map(Bytes::len).sum::<usize>();
        for client in &mut clients {
            client.read_exact(&mut vec![0; expected]).await.unwrap();
        }
        flushed
    }

    #[tokio::test]
    async fn a_delivery_allocates_nothing() {
        let frames = [Bytes::from_static(b"one "), Bytes::from_static(b"two ")];
        assert_eq!(allocations(1, &frames[..1]).await, 0);
        assert_eq!(allocations(50, &frames[..1]).await, 0);
        // Several frames are joined once, for however many members.
        let joined = allocations(1, &frames).await;
        assert!((1..=2).contains(&joined), "{joined}");
        assert_eq!(allocations(50, &frames).await, joined);
    }

    #[tokio::test]
    async fn whoever_cannot_take_it_is_let_go_with_the_place_to_go_on_from() {
        let mut fanout = Fanout::default();
        let (slow, _unread) = member(1, 1 << 10).await;
        let outbox = slow.outbox.clone();
        fanout.add(slow);
        let block = Bytes::from(vec![0; 64 << 10]);
        let mut at = 7;
        while !fanout.is_empty() {
            fanout.push(block.clone(), at);
            fanout.push(block.clone(), at + 1);
            fanout.flush(lag);
            at += 2;
        }
        assert_eq!(outbox.lags(), vec![at - 2], "from before the first frame of those that did not fit");
    }

    #[tokio::test]
    async fn whoever_is_ahead_gets_what_lies_beyond_its_position() {
        let mut fanout = Fanout::default();
        let (member, mut client) = member(1, 1 << 10).await;
        fanout.add_ahead(member, 8);
        for (seq, frame) in [(7, "seven "), (8, "eight "), (9, "nine "), (10, "ten")] {
            if fanout.is_awaited(seq) {
                fanout.flush(lag);
                fanout.catch_up_with(seq);
            }
            fanout.push(Bytes::from_static(frame.as_bytes()), seq - 1);
        }
        assert_eq!(fanout.flush(lag), 2);
        let mut got = [0; 8];
        client.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"nine ten");
    }

    #[tokio::test]
    async fn a_connection_is_a_member_once() {
        let mut fanout = Fanout::default();
        let (member, mut client) = member(1, 1 << 10).await;
        fanout.add(member.clone());
        fanout.add_ahead(member.clone(), 7);
        fanout.add(member);
        fanout.push(Bytes::from_static(b"x"), 0);
        assert_eq!(fanout.flush(lag), 1);
        let mut got = [0; 1];
        client.read_exact(&mut got).await.unwrap();
    }
}
