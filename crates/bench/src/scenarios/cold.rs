//! From the start of a front's process until it is ready.

use std::time::Instant;

use crate::{
    Options,
    installation::Installation,
    report::{Row, median},
};

pub async fn run(options: Options) -> anyhow::Result<Vec<Row>> {
    let installation = Installation::start().await?;
    let mut ready = vec![];
    for _ in 0..options.turns() {
        let begun = Instant::now();
        let front = installation.front().await?;
        ready.push(begun.elapsed().as_secs_f64() * 1e3);
        front.kill().await;
    }
    Ok(vec![Row::new("cold.front", median(ready), "ms")])
}
