//! Run the recipe on the database of PGHOST, PGDATABASE and so on.

use eventstore::{
    append, create, key, load, update, upsert, upsert_unchecked, upsert_with_retry, Aggregate, CommandError, DomainEvent,
    Error, Handle, NewEvent,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio_postgres::{Client, NoTls};

#[derive(Debug, Serialize, Deserialize)]
struct Deposited {
    amount: i64,
    balance: i64,
}

impl DomainEvent for Deposited {
    const KIND: &'static str = "deposited";
}

#[derive(Debug, Serialize, Deserialize)]
struct Closed {
    reason: String,
}

impl DomainEvent for Closed {
    const KIND: &'static str = "closed";
}

#[derive(Debug, Default)]
struct Account {
    balance: i64,
    closed: bool,
}

impl Aggregate for Account {
    const KIND: &'static str = "account";

    fn replay(&mut self, kind: &str, data: Value) -> Result<(), Error> {
        match kind {
            Deposited::KIND => {
                let event: Deposited = serde_json::from_value(data)?;
                self.balance += event.amount;
                // Written on the balance of before: a decision on old facts would show here.
                assert_eq!(self.balance, event.balance);
            }
            Closed::KIND => self.closed = true,
            _ => return Err(Error::UnknownKind(kind.to_owned())),
        }
        Ok(())
    }
}

struct Deposit(i64);
struct Close;

impl Handle<Deposit> for Account {
    type Error = String;

    fn handle(&self, &Deposit(amount): &Deposit) -> Result<Vec<NewEvent>, String> {
        if self.closed {
            return Err("closed".to_owned());
        }
        Ok(vec![NewEvent::of(&Deposited { amount, balance: self.balance + amount })])
    }
}

impl Handle<Close> for Account {
    type Error = String;

    fn handle(&self, _: &Close) -> Result<Vec<NewEvent>, String> {
        let event = NewEvent::of(&Closed { reason: "asked".to_owned() });
        Ok(if self.closed { vec![] } else { vec![event] })
    }
}

fn ok(condition: bool, what: &str) {
    println!("{}ok - {what}", if condition { "" } else { "not " });
    if !condition {
        std::process::exit(1);
    }
}

async fn connect() -> Result<Client, Error> {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let mut config = tokio_postgres::Config::new();
    config.host(&variable("PGHOST")).port(variable("PGPORT").parse().unwrap_or(5432));
    config.dbname(&variable("PGDATABASE")).user(&variable("PGUSER")).password(variable("PGPASSWORD"));
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut db = connect().await?;

    ok(load::<Account>(&db, "1").await?.1 == 0, "an unknown aggregate is at version 0");
    let missing = update::<Account, _>(&db, "1", &Deposit(5)).await;
    ok(matches!(missing, Err(CommandError::Store(Error::NotFound { .. }))), "which cannot be updated");
    let version = create::<Account, _>(&db, "1", &Deposit(5)).await.map_err(|e| format!("{e:?}"))?;
    ok(version == 1, "but created");
    let twice = create::<Account, _>(&db, "1", &Deposit(5)).await;
    ok(matches!(twice, Err(CommandError::Store(Error::Conflict { expected: Some(0), actual: 1, .. }))), "once");
    update::<Account, _>(&db, "1", &Deposit(7)).await.map_err(|e| format!("{e:?}"))?;
    let (account, version) = load::<Account>(&db, "1").await?;
    ok(account.balance == 12 && version == 2, "an update goes on from there");

    let late = [NewEvent::of(&Deposited { amount: 1, balance: 6 })];
    let refused = append(&db, &key::<Account>("1"), &late, Some(1)).await;
    ok(
        matches!(&refused, Err(Error::Conflict { key, expected: Some(1), actual: 2 }) if key == "account-1"),
        "a conflict with its facts",
    );

    let version = append(&db, &key::<Account>("race"), &[], None).await;
    ok(matches!(version, Err(Error::Database(_))), "an error of the database is one");

    // A refusal is a row: the transaction goes on.
    let transaction = db.transaction().await?;
    transaction.batch_execute("CREATE TABLE rust_note (note text); INSERT INTO rust_note VALUES ('kept')").await?;
    let refused = append(&transaction, &key::<Account>("1"), &late, Some(0)).await;
    ok(matches!(refused, Err(Error::Conflict { actual: 2, .. })), "in a transaction, too");
    update::<Account, _>(&transaction, "1", &Deposit(1)).await.map_err(|e| format!("{e:?}"))?;
    transaction.commit().await?;
    let notes: i64 = db.query_one("SELECT count(*) FROM rust_note", &[]).await?.get(0);
    ok(notes == 1 && load::<Account>(&db, "1").await?.1 == 3, "which goes on and commits all of it");

    // es_append() raises instead; the driver shows SQLSTATE and DETAIL.
    let raised = db.query_one("SELECT es_append('account-1', '[{\"type\": \"closed\"}]', 1)", &[]).await;
    let error = raised.expect_err("a conflict");
    let detail: Value = serde_json::from_str(error.as_db_error().and_then(|e| e.detail()).unwrap_or("null"))?;
    ok(
        error.code().map(|code| code.code()) == Some("VE001") && detail["conflicts"][0]["actual"] == 3,
        "es_append() raises VE001 with the same facts",
    );

    let workers: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(async {
                let db = connect().await.expect("connects");
                for _ in 0..5 {
                    upsert_with_retry::<Account, _>(&db, "2", &Deposit(1), 200).await.expect("gets through");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await?;
    }
    let (account, version) = load::<Account>(&db, "2").await?;
    ok(account.balance == 20 && version == 20, "of racing deposits none is lost or decided on old facts");

    let version = upsert_unchecked::<Account, _>(&db, "2", &Close).await.map_err(|e| format!("{e:?}"))?;
    let again = upsert::<Account, _>(&db, "2", &Close).await.map_err(|e| format!("{e:?}"))?;
    ok(version == 21 && again == 21, "nothing to append is no append");
    let decision = upsert_with_retry::<Account, _>(&db, "2", &Deposit(1), 9).await;
    ok(matches!(decision, Err(CommandError::Decision(why)) if why == "closed"), "a decision to refuse comes through");
    db.query_one("SELECT es_append('account-2', '[{\"type\": \"merged\"}]', 21)", &[]).await?;
    let unknown = load::<Account>(&db, "2").await;
    ok(matches!(unknown, Err(Error::UnknownKind(kind)) if kind == "merged"), "an unknown kind is an error");
    Ok(())
}
