// Read, decide, append, and again after a conflict: with database/sql and lib/pq.
//
//	counter KEY WORKERS INCREMENTS [ATTEMPTS]
//
// Each worker increments the counter KEY so many times, all of them at once. The
// database is that of the environment variables PGHOST, PGDATABASE and so on;
// without TLS, lib/pq wants PGSSLMODE=disable.
//
// Needs the Debian packages golang-go and golang-github-lib-pq-dev. To build with them:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go build counter.go
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"math/rand"
	"os"
	"time"

	"github.com/lib/pq"
)

// VE001 is ours: decide again. 40001 and 40P01 are PostgreSQL's own for "start again".
var tryAgain = map[string]bool{"VE001": true, "40001": true, "40P01": true}

type event struct {
	Version int64           `json:"-"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`
}

type decision func([]event) ([]event, error)

// change appends what decide makes of the aggregate and returns its new version.
func change(ctx context.Context, db *sql.DB, key string, decide decision, attempts int, onConflict func(error)) (int64, error) {
	for attempt := 1; ; attempt++ {
		version, err := changeOnce(ctx, db, key, decide)
		if err == nil || !tryAgain[sqlState(err)] || attempt == attempts {
			return version, err
		}
		onConflict(err)
		time.Sleep(backoff(attempt))
	}
}

func changeOnce(ctx context.Context, db *sql.DB, key string, decide decision) (version int64, err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() // does nothing after the commit

	events, err := read(ctx, tx, key)
	if err != nil {
		return 0, err
	}
	if len(events) > 0 {
		version = events[len(events)-1].Version
	}
	decided, err := decide(events)
	if err != nil {
		return 0, err
	}
	body, err := json.Marshal(decided)
	if err != nil {
		return 0, err
	}
	if err = tx.QueryRowContext(ctx, "SELECT es_append($1, $2, $3)", key, body, version).Scan(&version); err != nil {
		return 0, err
	}
	return version, tx.Commit()
}

func read(ctx context.Context, tx *sql.Tx, key string) (events []event, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT version, type, data FROM es_read($1)", key)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var e event
		if err = rows.Scan(&e.Version, &e.Type, &e.Data); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// backoff is up to 10, 20, 40 ms and so on, at most a second, and random, so that
// those who met do not meet again.
func backoff(attempt int) time.Duration {
	limit := time.Second
	if attempt < 8 {
		limit = 5 * time.Millisecond << attempt
	}
	return time.Duration(rand.Int63n(int64(limit)))
}

func sqlState(err error) string {
	var server *pq.Error
	if errors.As(err, &server) {
		return string(server.Code)
	}
	return ""
}

// describe tells the facts of a conflict, which are in DETAIL, as JSON.
func describe(err error) string {
	var server *pq.Error
	var detail struct {
		Conflicts []struct{ Expected, Actual int64 }
	}
	if sqlState(err) != "VE001" || !errors.As(err, &server) ||
		json.Unmarshal([]byte(server.Detail), &detail) != nil || len(detail.Conflicts) == 0 {
		return "conflict: SQLSTATE " + sqlState(err)
	}
	return fmt.Sprintf("conflict: expected version %d, actual %d", detail.Conflicts[0].Expected, detail.Conflicts[0].Actual)
}

// increment is the decision: it is wrong, and not only late, if the events are old.
func increment(events []event) ([]event, error) {
	var counter struct {
		Value int64 `json:"value"`
	}
	if len(events) > 0 {
		if err := json.Unmarshal(events[len(events)-1].Data, &counter); err != nil {
			return nil, err
		}
	}
	counter.Value++
	data, err := json.Marshal(counter)
	return []event{{Type: "incremented", Data: data}}, err
}

func work(ctx context.Context, db *sql.DB, worker int, key string, increments, attempts int) error {
	conflicts := 0
	onConflict := func(err error) {
		conflicts++
		log.Print(describe(err))
	}
	for i := 0; i < increments; i++ {
		if _, err := change(ctx, db, key, increment, attempts, onConflict); tryAgain[sqlState(err)] {
			return fmt.Errorf("worker %d gives up: %s", worker, describe(err))
		} else if err != nil {
			return fmt.Errorf("worker %d: %w", worker, err)
		}
	}
	fmt.Printf("worker %d: %d increments, %d conflicts\n", worker, increments, conflicts)
	return nil
}

func main() {
	log.SetFlags(0)
	workers, increments, attempts := 0, 0, 10
	if len(os.Args) != 4 && len(os.Args) != 5 {
		log.Fatal("usage: counter KEY WORKERS INCREMENTS [ATTEMPTS]")
	}
	for i, number := range []*int{&workers, &increments, &attempts}[:len(os.Args)-2] {
		if _, err := fmt.Sscan(os.Args[i+2], number); err != nil {
			log.Fatal(err)
		}
	}
	rand.Seed(time.Now().UnixNano()) // before Go 1.20 every process has the same numbers otherwise
	db, err := sql.Open("postgres", "")
	if err != nil {
		log.Fatal(err)
	}
	db.SetMaxOpenConns(workers)
	db.SetMaxIdleConns(workers)

	errs := make(chan error)
	for worker := 1; worker <= workers; worker++ {
		go func(worker int) {
			errs <- work(context.Background(), db, worker, os.Args[1], increments, attempts)
		}(worker)
	}
	failed := false
	for worker := 1; worker <= workers; worker++ {
		if err := <-errs; err != nil {
			log.Print(err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}
