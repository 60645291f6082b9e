//! What the disk itself can do: the limits of a durable append.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;

use redb::{Database, Durability, TableDefinition};
use tokio::time::Instant;

use super::{failed, median, micros, per_second};
use crate::cli::CliError;

const ROUNDS: usize = 1_000;
const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("limit");

/// Bytes of one entry.
pub(super) const ENTRY_BYTES: usize = 256;

/// Median time of overwriting `count` entries in a preallocated file and syncing it, in microseconds: the fastest way this
/// disk makes anything durable.
pub(super) fn write_and_sync(folder: &Path, count: usize) -> Result<f64, CliError> {
    let error = |error: std::io::Error| failed("write and sync", &error);
    let bytes = vec![7; ENTRY_BYTES * count];
    let mut file = File::create_new(folder.join(format!("limit-{count}"))).map_err(error)?;
    file.write_all(&vec![0; bytes.len() * (ROUNDS + 1)]).map_err(error)?;
    file.sync_all().map_err(error)?;
    file.seek(SeekFrom::Start(0)).map_err(error)?;
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        file.write_all(&bytes).map_err(error)?;
        file.sync_data().map_err(error)?;
        times.push(micros(begin));
    }
    Ok(median(&mut times))
}

/// Median time of a durable redb transaction of `count` entries in microseconds, and entries per second.
pub(super) fn bare_redb(folder: &Path, count: usize) -> Result<(f64, f64), CliError> {
    let error = |error: redb::Error| failed("redb", &error);
    let database = Database::create(folder.join(format!("limit-{count}.redb"))).map_err(|e| error(e.into()))?;
    let bytes = [7; ENTRY_BYTES];
    let mut times = Vec::with_capacity(ROUNDS);
    let (mut next, all) = (0, Instant::now());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let mut transaction = database.begin_write().map_err(|e| error(e.into()))?;
        transaction.set_durability(Durability::Immediate).map_err(|e| error(e.into()))?;
        {
            let mut table = transaction.open_table(TABLE).map_err(|e| error(e.into()))?;
            for _ in 0..count {
                table.insert(next, bytes.as_slice()).map_err(|e| error(e.into()))?;
                next += 1;
            }
        }
        transaction.commit().map_err(|e| error(e.into()))?;
        times.push(micros(begin));
    }
    Ok((median(&mut times), per_second(ROUNDS * count, all)))
}
