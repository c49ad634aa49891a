/*
 * Read, decide, append, and again after a conflict: with libpq.
 *
 *     counter KEY WORKERS INCREMENTS [ATTEMPTS]
 *
 * Each worker increments the counter KEY so many times, all of them at once.  The
 * database is that of the environment variables PGHOST, PGDATABASE and so on.
 *
 * Needs the Debian packages gcc, libc6-dev and libpq-dev:
 *
 *     cc -o counter counter.c -I"$(pg_config --includedir)" -L"$(pg_config --libdir)" -lpq
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <libpq-fe.h>

/* What the server says about a statement that failed, copied from its result. */
typedef struct Failure
{
	char		state[6];		/* SQLSTATE; empty without a connection */
	char		message[1024];
	long long	expected;		/* of a version conflict */
	long long	actual;
} Failure;

/* From the rows that change_once() reads to the events that follow, as JSON. */
typedef void (*Decide) (const PGresult *history, char *events, size_t size);

static void
note_failure(PGconn *db, const PGresult *result, Failure *failure)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *detail = PQresultErrorField(result, PG_DIAG_MESSAGE_DETAIL);

	snprintf(failure->state, sizeof(failure->state), "%s", state ? state : "");
	snprintf(failure->message, sizeof(failure->message), "%s", PQerrorMessage(db));
	failure->expected = failure->actual = -1;

	/*
	 * The facts of a conflict are in DETAIL, as JSON.  They can be found
	 * without a parser: inside of a key, which is the user's, a quote has a
	 * backslash before it.
	 */
	if (detail && strcmp(failure->state, "VE001") == 0)
	{
		const char *expected = strstr(detail, "\"expected\": ");
		const char *actual = strstr(detail, "\"actual\": ");

		if (expected && actual)
		{
			failure->expected = strtoll(expected + strlen("\"expected\": "), NULL, 10);
			failure->actual = strtoll(actual + strlen("\"actual\": "), NULL, 10);
		}
	}
}

/* Run a statement.  Returns its result, for the caller to clear, or NULL. */
static PGresult *
run(PGconn *db, const char *sql, int nparams, const char *const *params, Failure *failure)
{
	PGresult   *result = PQexecParams(db, sql, nparams, NULL, params, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
		return result;
	note_failure(db, result, failure);
	PQclear(result);
	return NULL;
}

/* One attempt, in a transaction of its own; false if any statement failed. */
static bool
change_once(PGconn *db, const char *key, Decide decide, long long *new_version, Failure *failure)
{
	PGresult   *result;
	char		version[24] = "0";
	char		events[1024];
	const char *params[] = {key, events, version};

	if (!(result = run(db, "BEGIN", 0, NULL, failure)))
		return false;
	PQclear(result);

	/* It is SQL that takes JSON apart here. */
	if (!(result = run(db, "SELECT version, data->>'value' FROM es_read($1)", 1, params, failure)))
		return false;
	if (PQntuples(result) > 0)
		snprintf(version, sizeof(version), "%s", PQgetvalue(result, PQntuples(result) - 1, 0));
	decide(result, events, sizeof(events));
	PQclear(result);

	if (!(result = run(db, "SELECT es_append($1, $2, $3)", 3, params, failure)))
		return false;
	*new_version = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
	PQclear(result);

	if (!(result = run(db, "COMMIT", 0, NULL, failure)))
		return false;
	PQclear(result);
	return true;
}

/* VE001 is ours: decide again.  40001 and 40P01 are PostgreSQL's own for "start again". */
static bool
try_again(const Failure *failure)
{
	return strcmp(failure->state, "VE001") == 0 ||
		strcmp(failure->state, "40001") == 0 ||
		strcmp(failure->state, "40P01") == 0;
}

/* Sleep for up to 10, 20, 40 ms and so on, at most a second; at random, or those who met will meet again. */
static void
back_off(int attempt)
{
	double		limit = attempt < 8 ? 0.005 * (1 << attempt) : 1;
	struct timespec pause = {0, (long) (limit * 1e9 * drand48())};

	nanosleep(&pause, NULL);
}

static void
tell(const char *before, const Failure *failure)
{
	if (strcmp(failure->state, "VE001") == 0)
		fprintf(stderr, "%sconflict: expected version %lld, actual %lld\n",
				before, failure->expected, failure->actual);
	else
		fprintf(stderr, "%sconflict: SQLSTATE %s\n", before, failure->state);
}

/* Append what decide() makes of the aggregate.  Returns its new version, or -1 and why. */
static long long
change(PGconn *db, const char *key, Decide decide, int attempts, int *conflicts, Failure *failure)
{
	for (int attempt = 1;; attempt++)
	{
		long long	version;

		if (change_once(db, key, decide, &version, failure))
			return version;
		/* A COMMIT that failed has ended the transaction. */
		if (PQtransactionStatus(db) != PQTRANS_IDLE)
			PQclear(PQexec(db, "ROLLBACK"));
		if (!try_again(failure) || attempt == attempts)
			return -1;
		tell("", failure);
		++*conflicts;
		back_off(attempt);
	}
}

/* The decision: it is wrong, and not only late, if the events are old. */
static void
increment(const PGresult *history, char *events, size_t size)
{
	int			n = PQntuples(history);
	long long	value = n > 0 ? strtoll(PQgetvalue(history, n - 1, 1), NULL, 10) : 0;

	snprintf(events, size, "[{\"type\": \"incremented\", \"data\": {\"value\": %lld}}]", value + 1);
}

static int
work(int worker, const char *key, int increments, int attempts)
{
	PGconn	   *db = PQconnectdb("");
	Failure		failure = {0};
	int			conflicts = 0;

	if (PQstatus(db) != CONNECTION_OK)
	{
		fputs(PQerrorMessage(db), stderr);
		return EXIT_FAILURE;
	}
	srand48(getpid() ^ time(NULL));
	for (int i = 0; i < increments; i++)
	{
		char		before[40];

		if (change(db, key, increment, attempts, &conflicts, &failure) != -1)
			continue;
		snprintf(before, sizeof(before), "worker %d gives up: ", worker);
		if (try_again(&failure))
			tell(before, &failure);
		else
			fputs(failure.message, stderr);
		PQfinish(db);
		return EXIT_FAILURE;
	}
	printf("worker %d: %d increments, %d conflicts\n", worker, increments, conflicts);
	PQfinish(db);
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	int			status = EXIT_SUCCESS;
	int			child_status;

	if (argc != 4 && argc != 5)
	{
		fputs("usage: counter KEY WORKERS INCREMENTS [ATTEMPTS]\n", stderr);
		return EXIT_FAILURE;
	}
	for (int worker = 1; worker <= atoi(argv[2]); worker++)
	{
		pid_t		child = fork();

		if (child == -1)
		{
			perror("fork");
			status = EXIT_FAILURE;
			break;
		}
		if (child == 0)
			exit(work(worker, argv[1], atoi(argv[3]), argc == 5 ? atoi(argv[4]) : 10));
	}
	while (wait(&child_status) > 0)
		if (child_status != 0)
			status = EXIT_FAILURE;
	return status;
}
