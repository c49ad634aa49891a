//! Typed aggregates in the manner of the crate sourcery, over the PostgreSQL extension eventstore with tokio-postgres.
//!
//! Events are plain structs with a kind; an aggregate is what has applied them. A function here loads it, lets it handle a
//! command, and appends what comes out. `create` is for new ones, `update` for existing ones, `upsert` for both;
//! `upsert_unchecked` appends whatever happened meanwhile. The store refuses by a row, so that a transaction can go on.

use serde::{de::DeserializeOwned, Serialize};
use serde_json::{json, Value};
use std::fmt;
use tokio_postgres::GenericClient;

/// An event: a struct of its own, and the type that it is stored under.
pub trait DomainEvent: Serialize + DeserializeOwned {
    const KIND: &'static str;
}

/// What its events add up to.
pub trait Aggregate: Default {
    /// The category of its keys.
    const KIND: &'static str;

    /// Apply a stored event. Err: it has no such kind, or other data.
    fn replay(&mut self, kind: &str, data: Value) -> Result<(), Error>;
}

/// An aggregate decides what follows from a command.
pub trait Handle<Command>: Aggregate {
    type Error;

    fn handle(&self, command: &Command) -> Result<Vec<NewEvent>, Self::Error>;
}

/// An event to be stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    kind: &'static str,
    data: Value,
}

impl NewEvent {
    pub fn of<E: DomainEvent>(event: &E) -> Self {
        NewEvent { kind: E::KIND, data: json!(event) }
    }
}

#[derive(Debug)]
pub enum Error {
    /// The aggregate is not where it was loaded: load it again, and decide again.
    Conflict { key: String, expected: Option<i64>, actual: i64 },
    /// The append was refused for another reason, such as a closed aggregate.
    Refused { key: String, status: String },
    /// There is nothing to update.
    NotFound { key: String },
    UnknownKind(String),
    Data(serde_json::Error),
    Database(tokio_postgres::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Conflict { key, expected, actual } => {
                write!(f, "aggregate {key:?} is at version {actual}, not at the expected version {expected:?}")
            }
            Error::Refused { key, status } => write!(f, "append to aggregate {key:?} was refused: {status}"),
            Error::NotFound { key } => write!(f, "aggregate {key:?} does not exist"),
            Error::UnknownKind(kind) => write!(f, "unknown kind of event: {kind:?}"),
            Error::Data(error) => write!(f, "event data: {error}"),
            Error::Database(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Error::Database(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Error::Data(error)
    }
}

/// A command failed: by the aggregate's decision, or in the store.
#[derive(Debug)]
pub enum CommandError<E> {
    Decision(E),
    Store(Error),
}

impl<E, F: Into<Error>> From<F> for CommandError<E> {
    fn from(error: F) -> Self {
        CommandError::Store(error.into())
    }
}

pub fn key<A: Aggregate>(id: &str) -> String {
    format!("{}-{id}", A::KIND)
}

/// The aggregate, and the version that it is at; 0 if it does not exist.
pub async fn load<A: Aggregate>(db: &impl GenericClient, id: &str) -> Result<(A, i64), Error> {
    let mut aggregate = A::default();
    let mut version = 0;
    for row in db.query("SELECT version, type, data FROM es_read($1)", &[&key::<A>(id)]).await? {
        let data: Option<Value> = row.get(2);
        aggregate.replay(row.get(1), data.unwrap_or(Value::Null))?;
        version = row.get(0);
    }
    Ok((aggregate, version))
}

/// Append, and return the new version. Without an expected version nobody's write is in the way.
pub async fn append(
    db: &impl GenericClient,
    key: &str,
    events: &[NewEvent],
    expected: Option<i64>,
) -> Result<i64, Error> {
    let events: Value = events.iter().map(|event| json!({"type": event.kind, "data": event.data})).collect();
    let row = db
        .query_one("SELECT status, version FROM es_try_append($1, $2, $3, true)", &[&key, &events, &expected])
        .await?;
    match row.get::<_, &str>(0) {
        "appended" => Ok(row.get(1)),
        "version_conflict" => Err(Error::Conflict { key: key.to_owned(), expected, actual: row.get(1) }),
        status => Err(Error::Refused { key: key.to_owned(), status: status.to_owned() }),
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    New,
    Existing,
    Either,
}

async fn decide<A: Handle<C>, C>(
    db: &impl GenericClient,
    id: &str,
    command: &C,
    wanted: Wanted,
    checked: bool,
) -> Result<i64, CommandError<A::Error>> {
    let (aggregate, version) = load::<A>(db, id).await?;
    let key = key::<A>(id);
    match wanted {
        Wanted::New if version > 0 => return Err(Error::Conflict { key, expected: Some(0), actual: version }.into()),
        Wanted::Existing if version == 0 => return Err(Error::NotFound { key }.into()),
        _ => {}
    }
    let events = aggregate.handle(command).map_err(CommandError::Decision)?;
    if events.is_empty() {
        return Ok(version);
    }
    Ok(append(db, &key, &events, checked.then_some(version)).await?)
}

/// The first command of an aggregate; Conflict if it exists. As all of these, returns the version.
pub async fn create<A: Handle<C>, C>(
    db: &impl GenericClient,
    id: &str,
    command: &C,
) -> Result<i64, CommandError<A::Error>> {
    decide::<A, C>(db, id, command, Wanted::New, true).await
}

/// Load, decide, append: Conflict if somebody was faster, NotFound if there is nothing to load.
pub async fn update<A: Handle<C>, C>(
    db: &impl GenericClient,
    id: &str,
    command: &C,
) -> Result<i64, CommandError<A::Error>> {
    decide::<A, C>(db, id, command, Wanted::Existing, true).await
}

/// The same, whether it exists or not.
pub async fn upsert<A: Handle<C>, C>(
    db: &impl GenericClient,
    id: &str,
    command: &C,
) -> Result<i64, CommandError<A::Error>> {
    decide::<A, C>(db, id, command, Wanted::Either, true).await
}

/// The same, for decisions that hold whatever happened meanwhile: never a Conflict.
pub async fn upsert_unchecked<A: Handle<C>, C>(
    db: &impl GenericClient,
    id: &str,
    command: &C,
) -> Result<i64, CommandError<A::Error>> {
    decide::<A, C>(db, id, command, Wanted::Either, false).await
}

/// `upsert`, which loads, decides and appends again after a conflict. Not for a transaction above READ COMMITTED: there,
/// a second attempt sees what the first has seen.
pub async fn upsert_with_retry<A: Handle<C>, C>(
    db: &impl GenericClient,
    id: &str,
    command: &C,
    max_retries: u32,
) -> Result<i64, CommandError<A::Error>> {
    let mut retries = 0;
    loop {
        match upsert::<A, C>(db, id, command).await {
            Err(CommandError::Store(Error::Conflict { .. })) if retries < max_retries => {
                tokio::time::sleep(std::time::Duration::from_millis(1 << retries.min(6))).await;
                retries += 1;
            }
            outcome => return outcome,
        }
    }
}
