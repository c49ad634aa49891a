/*
 * load.c
 *	  The benchmark's client: connections that run one script again and again.
 *
 * One thread a connection, prepared statements, text parameters and results, as
 * drivers do.  After connecting and a warm-up all connections rest; it prints "ready" and
 * goes on when it reads a line.  When the time is over and all rest again it prints
 * "done", reads another line, and then prints its figures as one line of JSON.  So whoever
 * started it can look at a server at rest, and knows what each call has cost, however
 * busy the machine is meanwhile.
 *
 * A call is one run of the script.  It must succeed: an error with one of the SQLSTATEs
 * of -r (or, with "none" there, a statement without a row) is a conflict, after which
 * the same call begins anew; everything else ends the program.
 *
 * pgbench cannot go on after an error of its own choosing, cannot build JSON, and
 * counts connecting and planning with the rest.
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"

#define BUCKETS (64 * 16)
#define INTERVALS 600
#define INTERVAL 100000000L		/* nanoseconds */

typedef struct Client
{
	pthread_t	thread;
	PGconn	   *connection;
	Walk		walk;
	atomic_long total;			/* calls, all in all */
	long		measured;		/* since the warm-up */
	long		calls;			/* those that ended in time */
	long		rows;			/* of these */
	long		conflicts;		/* since the warm-up */
	long		latencies[BUCKETS];
	long		intervals[INTERVALS];
	char		key[MAX_KEY];
	char		new_key[MAX_KEY];
	char		version[24];
	char		next_version[24];
	char		random[24];
	char	   *writes;
} Client;

enum
{
	WARMING_UP, RESTING, MEASURING, STOPPING
};

static Script script;
static Client *clients;
static atomic_int phase = WARMING_UP;
static atomic_int resting;		/* clients that do */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t go_on = PTHREAD_COND_INITIALIZER;
static int64_t began;

static int64_t
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static void
rest(double seconds)
{
	struct timespec time = {(time_t) seconds, (long) ((seconds - (double) (time_t) seconds) * 1e9)};

	nanosleep(&time, NULL);
}

/* ---- one call ---- */

static const char *
value_of(Client *client, const Param *param)
{
	switch (param->variable)
	{
		case KEY:
			return client->key;
		case VERSION:
			return client->version;
		case NEXT_VERSION:
			snprintf(client->next_version, sizeof(client->next_version), "%ld", atol(client->version) + 1);
			return client->next_version;
		case NEW_KEY:
			return client->new_key;
		case WRITES:
			return client->writes;
		case RANDOM:
			snprintf(client->random, sizeof(client->random), "%ld", walk_random(&client->walk));
			return client->random;
		case CONSTANT:
			return param->constant;
	}
	return NULL;
}

static void
begin_call(Client *client)
{
	const Walk *walk = &client->walk;

	walk_key(walk, walk->step, client->key);
	walk_new_key(walk, client->new_key);
	snprintf(client->version, sizeof(client->version), "%ld", walk_version(walk, walk->step));
	if (options.writes > 0)
	{
		const char *events = NULL;

		for (int i = 0; i < options.constants; i++)
		{
			if (strcmp(options.names[i], "events") == 0)
				events = options.values[i];
		}
		if (events == NULL)
			die("writes need -D events=...");
		free(client->writes);
		client->writes = walk_writes(walk, events);
	}
}

static bool
is_conflict(const char *sqlstate)
{
	return sqlstate != NULL && *sqlstate != '\0' && strstr(options.retry, sqlstate) != NULL;
}

/* The number of rows returned or changed; -1 after a conflict. */
static long
run_statement(Client *client, const Statement *statement)
{
	const char *values[MAX_PARAMS];
	PGresult   *result;
	ExecStatusType status;
	long		rows = 0;

	for (int i = 0; i < statement->nparams; i++)
		values[i] = value_of(client, &statement->params[i]);
	result = PQexecPrepared(client->connection, statement->name, statement->nparams, values, NULL, NULL, 0);
	status = PQresultStatus(result);
	if (status == PGRES_TUPLES_OK)
	{
		int			column = PQfnumber(result, "version");

		rows = PQntuples(result);
		if (rows == 0)
		{
			if (!is_conflict("none"))
				die("no row from: %s", statement->sql);
			rows = -1;
		}
		else if (column >= 0 && rows == 1)
			snprintf(client->version, sizeof(client->version), "%s", PQgetvalue(result, 0, column));
	}
	else if (status == PGRES_COMMAND_OK)
		rows = atol(PQcmdTuples(result));
	else if (is_conflict(PQresultErrorField(result, PG_DIAG_SQLSTATE)))
		rows = -1;
	else
		die("%s%s", PQerrorMessage(client->connection), statement->sql);
	PQclear(result);
	return rows;
}

/* Run the script once; the number of rows, or -1 after a conflict. */
static long
run_script(Client *client)
{
	long		rows = 0;

	for (int i = 0; i < script.count; i++)
	{
		long		these = run_statement(client, &script.statements[i]);

		if (these < 0)
		{
			if (PQtransactionStatus(client->connection) != PQTRANS_IDLE)
				PQclear(PQexec(client->connection, "ROLLBACK"));
			return -1;
		}
		rows += these;
	}
	return rows;
}

/* ---- counting ---- */

/* 16 buckets for each power of two, of nanoseconds. */
static int
bucket(int64_t latency)
{
	int			power = 63 - __builtin_clzll((unsigned long long) (latency < 16 ? 16 : latency));

	return power * 16 + (int) ((latency >> (power - 4)) & 15);
}

static void
count_call(Client *client, int64_t started, int64_t ended, long rows)
{
	long		interval = (ended - began) / INTERVAL;

	client->calls++;
	client->rows += rows;
	client->latencies[bucket(ended - started)]++;
	if (interval >= 0 && interval < INTERVALS)
		client->intervals[interval]++;
}

static double
quantile(double part)
{
	long		total = 0;
	long		seen = 0;

	for (int c = 0; c < options.clients; c++)
		total += clients[c].calls;
	for (int b = 64; b < BUCKETS; b++)
	{
		for (int c = 0; c < options.clients; c++)
			seen += clients[c].latencies[b];
		if (seen > 0 && (double) seen >= part * (double) total)
			return (double) ((16L + b % 16) << (b / 16 - 4)) / 1000;
	}
	return 0;
}

/* ---- the threads ---- */

static void
prepare(Client *client)
{
	/* Everything else comes from the environment. */
	client->connection = PQconnectdb("");
	if (PQstatus(client->connection) != CONNECTION_OK)
		die("%s", PQerrorMessage(client->connection));
	for (int i = 0; i < script.count; i++)
	{
		Statement  *statement = &script.statements[i];
		PGresult   *result = PQprepare(client->connection, statement->name, statement->sql, 0, NULL);

		if (PQresultStatus(result) != PGRES_COMMAND_OK)
			die("%s%s", PQerrorMessage(client->connection), statement->sql);
		PQclear(result);
	}
}

/* Until the others rest as well, and whoever started us has looked at the server. */
static void
take_a_rest(void)
{
	pthread_mutex_lock(&mutex);
	resting++;
	while (phase == RESTING)
		pthread_cond_wait(&go_on, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void *
run_client(void *arg)
{
	Client	   *client = arg;

	while (options.calls > 0 ? client->total < options.calls : phase != STOPPING)
	{
		int64_t		started;
		long		rows;

		if (phase == RESTING)
		{
			take_a_rest();
			client->conflicts = 0;
		}
		started = now();
		begin_call(client);
		/* Who never gets through is stopped with the rest. */
		while ((rows = run_script(client)) < 0)
		{
			client->conflicts++;
			if (phase == STOPPING)
				return NULL;
		}
		client->walk.step += options.writes > 0 ? options.writes : 1;
		client->total++;
		if (phase >= MEASURING)
			client->measured++;
		if (phase == MEASURING)
			count_call(client, started, now(), rows);
	}
	return NULL;
}

static void
connect_clients(void)
{
	clients = calloc((size_t) options.clients, sizeof(Client));
	if (clients == NULL)
		die("out of memory");
	for (int c = 0; c < options.clients; c++)
	{
		clients[c].walk.client = c;
		clients[c].walk.random = 88172645463325252ULL + 7919 * (uint64_t) c;
		prepare(&clients[c]);
	}
}

static void
start_threads(void)
{
	for (int c = 0; c < options.clients; c++)
	{
		if (pthread_create(&clients[c].thread, NULL, run_client, &clients[c]) != 0)
			die("cannot start a thread");
	}
}

/* Until every client has made its calls, and the time is over; then all rest. */
static void
warm_up(void)
{
	int			waits_left = 3000;	/* of 10 ms: who is starved then shows that as a result */

	rest(options.warmup);
	for (int c = 0; c < options.clients; c++)
	{
		while (clients[c].total < options.warm_calls && waits_left-- > 0)
			rest(0.01);
	}
	phase = RESTING;
	while (resting < options.clients)
		rest(0.001);
}

static void
report(double seconds)
{
	long		total = 0;
	long		measured = 0;
	long		calls = 0;
	long		rows = 0;
	long		conflicts = 0;
	long		last = (long) (seconds * 1e9 / (double) INTERVAL);

	for (int c = 0; c < options.clients; c++)
	{
		total += clients[c].total;
		measured += clients[c].measured;
		calls += clients[c].calls;
		rows += clients[c].rows;
		conflicts += clients[c].conflicts;
	}
	printf("{\"seconds\": %.6f, \"total\": %ld, \"measured\": %ld, \"calls\": %ld, \"rows\": %ld, \"conflicts\": %ld, "
		   "\"p50\": %.1f, \"p99\": %.1f, \"intervals\": [",
		   seconds, total, measured, calls, rows, conflicts, quantile(0.5), quantile(0.99));
	for (long i = 0; i < last && i < INTERVALS; i++)
	{
		long		count = 0;

		for (int c = 0; c < options.clients; c++)
			count += clients[c].intervals[i];
		printf("%s%ld", i == 0 ? "" : ", ", count);
	}
	printf("]}\n");
	fflush(stdout);
}

/* Say so, and wait for an answer. */
static void
announce(const char *what)
{
	puts(what);
	fflush(stdout);
	for (int c = getchar(); c != EOF && c != '\n';)
		c = getchar();
}

static void
begin_measuring(void)
{
	announce("ready");
	began = now();
	pthread_mutex_lock(&mutex);
	phase = MEASURING;
	pthread_cond_broadcast(&go_on);
	pthread_mutex_unlock(&mutex);
}

static void
join_threads(void)
{
	for (int c = 0; c < options.clients; c++)
		pthread_join(clients[c].thread, NULL);
}

/* Measure for the given time; returns how long it was. */
static double
measure_time(void)
{
	double		seconds;

	start_threads();
	warm_up();
	begin_measuring();
	rest(options.seconds);
	phase = STOPPING;
	seconds = (double) (now() - began) / 1e9;
	join_threads();
	return seconds;
}

/* Measure the given number of calls, without a warm-up; returns how long they took. */
static double
measure_calls(void)
{
	begin_measuring();
	start_threads();
	join_threads();
	return (double) (now() - began) / 1e9;
}

int
main(int argc, char **argv)
{
	double		seconds;

	script = read_script(read_options(argc, argv));
	connect_clients();
	seconds = options.calls > 0 ? measure_calls() : measure_time();
	announce("done");
	report(seconds);
	for (int c = 0; c < options.clients; c++)
		PQfinish(clients[c].connection);
	return 0;
}
