//! Logs each line of standard input as an error, as JSON lines in app.log. A shipper, such as
//! the Collector or Fluent Bit, follows the file.
use std::{fs::OpenOptions, io, sync::Mutex};

use tracing::{error, info, warn};

fn main() -> io::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open("app.log")?;
    // Without flatten_event, the message is in the object "fields".
    tracing_subscriber::fmt().json().flatten_event(true).with_writer(Mutex::new(file)).init();

    info!("started");
    for line in io::stdin().lines() {
        error!("{}", line?);
    }
    warn!("end of input");
    Ok(())
}
