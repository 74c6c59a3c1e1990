use natterjack_runtime::telemetry;

use super::Check;
use crate::environment::{Environment, PUBLIC_URL};

/// What the other checks need, as far as it could be read.
pub struct Settings {
    pub log: natterjack_eventlog::Config,
    /// `None` without a URL: there is no usual place for it.
    pub database: Option<natterjack_database::Config>,
    pub public_url: String,
}

impl Settings {
    /// Reads the settings as a front, a projector and their logging would.
    pub fn read(environment: &Environment) -> (Self, Check) {
        let mut reader = environment.reader();
        telemetry::Config::read(&mut reader);
        let front = natterjack_front::Config::read(&mut reader);
        natterjack_projection::Config::read(&mut reader);
        let public_url = reader.text(PUBLIC_URL, Some(&format!("http://{}", front.listen)));
        let check = match reader.finish() {
            Ok(()) => Check::ok("configuration", format!("{} variables, all valid", environment.pairs.len())),
            Err(errors) => {
                Check::failed("configuration", errors.to_string(), "set these NATTERJACK_ variables right")
            }
        };
        let database = (!front.database.server.get_hosts().is_empty()).then_some(front.database);
        (Self { log: front.log, database, public_url }, check)
    }
}
