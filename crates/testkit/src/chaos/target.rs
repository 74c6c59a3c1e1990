//! What is hurt, and how it recovers.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::ExitStatus,
    time::Duration,
};

use natterjack_stack::{NatsServer, Postgres, StartError, process};
use rustix::process::Signal;
use tokio::time::{sleep, sleep_until, timeout};

use super::{
    Course,
    plan::{Fault, Part, Planned},
};
use crate::{Proxy, proxy::Direction};

/// Something with a name that a plan may hit.
pub struct Target<'a> {
    pub name: String,
    pub body: Body<'a>,
}

pub enum Body<'a> {
    Nats(&'a mut NatsServer),
    Postgres(&'a mut Postgres),
    Program(&'a mut Program),
    /// One connection, or one to each server.
    Link(&'a [Proxy]),
}

/// A front or a projector, which is started again and again with the same settings.
pub struct Program {
    name: &'static str,
    settings: BTreeMap<String, String>,
    dir: PathBuf,
    process: process::Process,
}

/// How long a program may take to drain.
const DRAINS_WITHIN: Duration = Duration::from_secs(25);
/// How long what was killed may take to get ready; then it is killed and started again.
const START_TRIES: usize = 6;
/// A program that ends by itself is started again after this, as a supervisor would.
const SUPERVISED_AFTER: Duration = Duration::from_millis(300);

impl Target<'_> {
    pub fn part(&self) -> Part {
        match self.body {
            Body::Nats(_) => Part::Nats,
            Body::Postgres(_) => Part::Postgres,
            Body::Program(_) => Part::Program,
            Body::Link(_) => Part::Link,
        }
    }

    /// Suffers what is planned, and is whole again in the end.
    pub async fn suffer(mut self, planned: Vec<Planned>, course: &Course) {
        for hit in planned {
            let at = course.began + hit.at;
            tokio::select! {
                () = course.stopped() => return,
                () = self.idle(course) => {}
                () = sleep_until(at.into()) => {}
            }
            course.fault(&format!("{} {} for {:.1} s", hit.fault, self.name, hit.lasts.as_secs_f64()));
            self.hit(&hit, course).await;
        }
        tokio::select! {
            () = course.stopped() => {}
            () = self.idle(course) => {}
        }
    }

    /// Nothing is done to it: a program that ends now does so by itself.
    async fn idle(&mut self, course: &Course) {
        let Body::Program(program) = &mut self.body else { return std::future::pending().await };
        loop {
            let status = program.process.exited().await;
            if program.lost_its_port() {
                course.say(&format!("somebody else has a port of {}", self.name));
            } else {
                course.incident(format!("{} ended by itself: {status}", self.name));
            }
            sleep(SUPERVISED_AFTER).await;
            program.start();
        }
    }

    async fn hit(&mut self, hit: &Planned, course: &Course) {
        let name = self.name.clone();
        match &mut self.body {
            Body::Link(proxies) => link(proxies, hit, course).await,
            Body::Program(program) => program.hit(hit, &name, course).await,
            Body::Nats(server) => {
                match hit.fault {
                    Fault::Suspend => {
                        server.suspend().await;
                        course.nap(hit.lasts).await;
                        return server.resume();
                    }
                    Fault::Restart => server.stop().await,
                    _ => server.kill_hard().await,
                }
                course.nap(hit.lasts).await;
                up_again(&name, course, async || server.restart().await).await;
            }
            Body::Postgres(server) => {
                match hit.fault {
                    Fault::Restart => server.stop_fast().await,
                    _ => server.kill_hard().await,
                }
                course.nap(hit.lasts).await;
                up_again(&name, course, async || server.restart().await).await;
            }
        }
    }
}

async fn up_again(name: &str, course: &Course, mut start: impl AsyncFnMut() -> Result<(), StartError>) {
    for _ in 0..START_TRIES {
        match start().await {
            Ok(()) => return,
            Err(error) => course.say(&format!("{name} does not come up yet: {error}")),
        }
    }
    course.incident(format!("{name} did not come up again"));
}

async fn link(proxies: &[Proxy], hit: &Planned, course: &Course) {
    let hurt = proxies.get(hit.lane).map_or(proxies, std::slice::from_ref);
    for proxy in hurt {
        for way in [Direction::ToTarget, Direction::FromTarget] {
            match hit.fault {
                Fault::HoldThere => proxy.hold(Direction::ToTarget),
                Fault::HoldBack => proxy.hold(Direction::FromTarget),
                Fault::Delay { ms } => proxy.delay(way, Duration::from_millis(ms)),
                Fault::Slow { bytes_per_second } => proxy.slow(way, bytes_per_second),
                Fault::Kill | Fault::Suspend | Fault::Restart | Fault::Cut => proxy.cut(),
            }
        }
    }
    course.nap(hit.lasts).await;
    for proxy in hurt {
        proxy.heal();
    }
}

impl Program {
    /// Starts a program that logs into `dir`.
    pub fn launch(name: &'static str, dir: PathBuf, settings: BTreeMap<String, String>) -> Self {
        fs::create_dir_all(&dir).expect("a directory can be made");
        let process = spawn(name, &dir, &settings);
        Self { name, settings, dir, process }
    }

    fn start(&mut self) {
        self.process = spawn(self.name, &self.dir, &self.settings);
    }

    /// Another program on this machine took it while this one was down.
    fn lost_its_port(&self) -> bool {
        let log = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&log).trim_end().ends_with("Address already in use (os error 98)")
    }

    async fn hit(&mut self, hit: &Planned, name: &str, course: &Course) {
        match hit.fault {
            Fault::Suspend => {
                self.process.suspend().await;
                course.nap(hit.lasts).await;
                return self.process.signal(Signal::CONT);
            }
            Fault::Restart => {
                let status = self.drain().await;
                // Told to end before it could listen, it has nothing to bring to an end.
                if !status.success() && status.signal() != Some(Signal::TERM.as_raw()) {
                    course.incident(format!("{name} did not drain well: {status}"));
                }
            }
            _ => drop(self.process.kill_hard().await),
        }
        course.nap(hit.lasts).await;
        self.start();
    }

    async fn drain(&self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        match timeout(DRAINS_WITHIN, self.process.exited()).await {
            Ok(status) => status,
            Err(_) => self.process.kill_hard().await,
        }
    }
}

fn spawn(name: &str, dir: &std::path::Path, settings: &BTreeMap<String, String>) -> process::Process {
    let log = OpenOptions::new().create(true).append(true).open(dir.join("log"));
    process::Process::spawn(process::Spec {
        program: PathBuf::from("/usr/bin/env"),
        args: crate::programs::arguments(name, settings.clone()),
        envs: vec![],
        dir: dir.to_owned(),
        user: None,
        log: log.expect("a file can be made"),
        lock: File::create(dir.join("lock")).expect("a file can be made"),
        last_signal: process::LastSignal::Kill,
    })
    .expect("the program starts")
}
