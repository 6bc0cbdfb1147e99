//! The tables of the file, and what a row looks like in them.

use std::ops::Bound;

use bytes::Bytes;
use redb::{Database, Error, ReadTransaction, ReadableTable as _, Table, TableDefinition, WriteTransaction};

use crate::decision::Change;
use crate::key::Key;
use crate::row::{Current, Expiry, Moment};
use crate::scan::{ScanCursor, ScanPage, Span};

/// What the file says about itself.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("hawser_meta");
/// The row of [`META`] with the version of the layout of all other tables.
pub(super) const SCHEMA: &str = "schema";
/// The layout described here.
pub(super) const SCHEMA_VERSION: u64 = 1;
/// Row name to expiry (milliseconds since the epoch, the largest number is never) and value.
const ROWS: TableDefinition<'_, &str, (u64, &[u8])> = TableDefinition::new("hawser_rows");
/// Expiry and row name of every row that expires, in the order in which they do.
const EXPIRIES: TableDefinition<'_, (u64, &str), ()> = TableDefinition::new("hawser_expiries");

/// Begins a transaction that, once committed, survives a crash at any moment.
///
/// Two phases, because rows hold bytes that clients chose: with one phase a crafted page could pass for a finished commit
/// after a crash. The allocator's state goes along, so that opening after a crash, or after the disk failed, takes
/// milliseconds whatever the size of the file.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}

/// Makes the tables in a new file.
pub(super) fn create_tables(database: &Database) -> Result<(), Error> {
    let transaction = begin(database)?;
    transaction.open_table(META)?.insert(SCHEMA, SCHEMA_VERSION)?;
    drop(RowTables::open(&transaction)?);
    Ok(transaction.commit()?)
}

/// The value of a row that exists now.
pub(super) fn read(transaction: &ReadTransaction, key: &Key, now: Moment) -> Result<Option<Bytes>, Error> {
    let rows = transaction.open_table(ROWS)?;
    let Some(row) = rows.get(key.as_str())? else { return Ok(None) };
    let (expiry, value) = row.value();
    Ok((!Expiry::from_millis(expiry).is_past(now)).then(|| Bytes::copy_from_slice(value)))
}

/// Rows of the span that exist now; looks at `limit` rows at most.
pub(super) fn page(transaction: &ReadTransaction, span: &Span, limit: usize, now: Moment) -> Result<ScanPage, Error> {
    let rows = transaction.open_table(ROWS)?;
    let mut page = ScanPage { rows: Vec::new(), next: None };
    for (seen, row) in rows.range::<&str>((span.start(), Bound::Unbounded))?.enumerate() {
        let (name, row) = row?;
        let (name, (expiry, value)) = (name.value(), row.value());
        if !span.holds(name) {
            break;
        }
        // A name that cannot be one is damage, and of no use to anybody.
        if let Ok(key) = Key::parse(name)
            && !Expiry::from_millis(expiry).is_past(now)
        {
            page.rows.push((key, Bytes::copy_from_slice(value)));
        }
        if seen + 1 == limit {
            page.next = Some(ScanCursor::after(name));
            break;
        }
    }
    Ok(page)
}

/// Whether there is a row past its time to sweep.
pub(super) fn any_past(transaction: &ReadTransaction, now: Moment) -> Result<bool, Error> {
    let expiries = transaction.open_table(EXPIRIES)?;
    let first = expiries.first()?;
    Ok(first.is_some_and(|(key, _)| Expiry::from_millis(key.value().0).is_past(now)))
}

/// The tables of rows within a transaction that writes.
pub(super) struct RowTables<'a> {
    rows: Table<'a, &'static str, (u64, &'static [u8])>,
    expiries: Table<'a, (u64, &'static str), ()>,
}

impl<'a> RowTables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, Error> {
        Ok(Self { rows: transaction.open_table(ROWS)?, expiries: transaction.open_table(EXPIRIES)? })
    }

    /// Lets `decide` see the row and does what it says. Tells whether anything changed.
    pub(super) fn apply(
        &mut self,
        key: &Key,
        now: Moment,
        decide: impl FnOnce(Option<Current<'_>>) -> Change,
    ) -> Result<bool, Error> {
        let (stored_expiry, change) = match self.rows.get(key.as_str())? {
            None => (Expiry::NEVER, decide(None)),
            Some(row) => {
                let (expiry, value) = row.value();
                let expiry = Expiry::from_millis(expiry);
                (expiry, decide((!expiry.is_past(now)).then_some(Current { value, expiry })))
            }
        };
        match change {
            Change::Keep => return Ok(false),
            Change::Delete => {
                self.rows.remove(key.as_str())?;
                self.unlist(key, stored_expiry)?;
            }
            Change::Write(value, expiry) => {
                self.rows.insert(key.as_str(), (expiry.millis(), value.as_ref()))?;
                if expiry != stored_expiry {
                    self.unlist(key, stored_expiry)?;
                    if expiry != Expiry::NEVER {
                        self.expiries.insert((expiry.millis(), key.as_str()), ())?;
                    }
                }
            }
        }
        Ok(true)
    }

    /// Removes up to `rows_max` rows that are past their time. Returns how many it removed.
    pub(super) fn sweep(&mut self, now: Moment, rows_max: usize) -> Result<usize, Error> {
        for swept in 0..rows_max {
            let Some((expiry, name)) = self.first_past(now)? else { return Ok(swept) };
            self.rows.remove(name.as_str())?;
            self.expiries.remove((expiry, name.as_str()))?;
        }
        Ok(rows_max)
    }

    fn first_past(&self, now: Moment) -> Result<Option<(u64, String)>, Error> {
        let Some((key, _)) = self.expiries.first()? else { return Ok(None) };
        let (expiry, name) = key.value();
        Ok(Expiry::from_millis(expiry).is_past(now).then(|| (expiry, name.to_owned())))
    }

    fn unlist(&mut self, key: &Key, expiry: Expiry) -> Result<(), Error> {
        if expiry != Expiry::NEVER {
            self.expiries.remove((expiry.millis(), key.as_str()))?;
        }
        Ok(())
    }
}
