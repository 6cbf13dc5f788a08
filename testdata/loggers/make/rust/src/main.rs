//! Logs with the JSON formats of tracing-subscriber and writes the output to files in the
//! directory given as the argument. A timer with a fixed clock makes the output reproducible.
use std::{env, fmt, fs::File, path::Path, sync::atomic::{AtomicU32, Ordering}};

use tracing::{Level, debug, error, info, info_span, trace, warn};
use tracing_subscriber::fmt::{format::Writer, time::FormatTime};

struct Clock(AtomicU32);

impl FormatTime for Clock {
    fn format_time(&self, w: &mut Writer<'_>) -> fmt::Result {
        write!(w, "2026-11-22T15:24:{:02}.123456Z", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

fn log() {
    trace!("entering handler");
    debug!(key = "user:42", hit = false, "cache miss");
    info!(user = "Zoé", "commande passée à « Zoé » — 注文 ✓ 🚀");
    info!(level = "error", r#"payload was {{"level":"error","message":"inner"}}"#);
    warn!(status = 499, "slow request");
    let span = info_span!("checkout", order = 7);
    let _entered = span.enter();
    error!(amount = 12.5, error = ?"card declined", "payment failed");
    error!("said \"no\"\nthen C:\\temp\\x and </script> & 'rest'\u{2028}end");
    error!(code = 7);
}

fn main() {
    let dir = env::args().nth(1).expect("usage: fixtures DIRECTORY");
    let file = |name: &str| File::create(Path::new(&dir).join(name)).expect("create the file");
    let json = || {
        tracing_subscriber::fmt().json().with_max_level(Level::TRACE).with_timer(Clock(AtomicU32::new(0)))
    };
    tracing::subscriber::with_default(json().with_writer(file("tracing.body")).finish(), log);
    let flat = json().flatten_event(true).with_writer(file("tracing-flattened.body")).finish();
    tracing::subscriber::with_default(flat, log);
}
