//! What is measured, one module for each kind of load.

use std::pin::Pin;

use crate::{Options, report::Row};

mod append;
mod churn;
mod cold;
mod fanout;
mod growth;
mod herd;
mod history;
mod idle;
mod mixed;
mod projector;
mod rate;
mod resume;

type Running = Pin<Box<dyn Future<Output = anyhow::Result<Vec<Row>>>>>;

pub struct Scenario {
    pub name: &'static str,
    pub about: &'static str,
    /// A full run takes hours: it has to be named.
    pub long: bool,
    pub run: fn(Options) -> Running,
}

/// In the order in which they run.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "fanout",
        about: "one room with 1,000 people: 16 messages in flight, and one at a time",
        long: false,
        run: |options| Box::pin(fanout::hot(options)),
    },
    Scenario {
        name: "rooms",
        about: "100 rooms with 20 people, one message in flight in each",
        long: false,
        run: |options| Box::pin(fanout::rooms(options)),
    },
    Scenario {
        name: "rate",
        about: "20,000 deliveries/s in 100 rooms with 20 people",
        long: false,
        run: |options| Box::pin(rate::run(options)),
    },
    Scenario {
        name: "append",
        about: "acknowledgements: 1, 16 and 256 in flight, and 500/s, on one stream, on three, and on a cluster",
        long: false,
        run: |options| Box::pin(append::run(options)),
    },
    Scenario {
        name: "mixed",
        about: "1,000 people in 100 rooms by Zipf's law: messages, typing, reads, joins, connections that break",
        long: false,
        run: |options| Box::pin(mixed::run(options)),
    },
    Scenario {
        name: "idle",
        about: "memory of 10,000 connections: idle, and after a busy time in which half of them did not read",
        long: false,
        run: |_| Box::pin(idle::run()),
    },
    Scenario {
        name: "churn",
        about: "memory while people come and go, for an hour",
        long: true,
        run: |options| Box::pin(churn::run(options)),
    },
    Scenario {
        name: "projector",
        about: "catching up, following 5,000 events/s, and making the read models again",
        long: false,
        run: |options| Box::pin(projector::run(options)),
    },
    Scenario {
        name: "history",
        about: "a page of 50 messages out of 5 million over REST, beside the statement alone",
        long: false,
        run: |options| Box::pin(history::run(options)),
    },
    Scenario {
        name: "resume",
        about: "50 missed events from each source, and what deep readers cost those who write",
        long: false,
        run: |options| Box::pin(resume::run(options)),
    },
    Scenario {
        name: "herd",
        about: "2,000 people in 10 rooms each resume after the death of their front",
        long: false,
        run: |options| Box::pin(herd::run(options)),
    },
    Scenario {
        name: "growth",
        about: "what a front costs by rooms and events that it does not serve",
        long: false,
        run: |options| Box::pin(growth::run(options)),
    },
    Scenario {
        name: "cold",
        about: "from the start of a front until it is ready",
        long: false,
        run: |options| Box::pin(cold::run(options)),
    },
];
