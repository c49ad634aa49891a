/*
 * client.h
 *	  What the files of the benchmark's client share.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#define MAX_PARAMS 10
#define MAX_CONSTANTS 16

typedef enum Variable
{
	KEY,						/* of the aggregate that it is the turn of */
	VERSION,					/* that aggregate's, as the walk or a statement
								 * before says */
	NEXT_VERSION,
	NEW_KEY,					/* of an aggregate that does not exist */
	WRITES,						/* JSON for es_append_many() and es_append_each() */
	RANDOM,						/* a whole number below options.random_below */
	CONSTANT					/* given on the command line */
} Variable;

typedef struct Param
{
	Variable	variable;
	const char *constant;
} Param;

typedef struct Statement
{
	char		name[16];
	char	   *sql;			/* with $1, $2 ... for the variables */
	int			nparams;
	Param		params[MAX_PARAMS];
} Statement;

typedef struct Script
{
	int			count;
	Statement  *statements;
} Script;

typedef struct Options
{
	int			clients;
	double		warmup;			/* seconds, */
	long		warm_calls;		/* and at least so many calls of each client: the
								 * server keeps its plans by then */
	double		seconds;
	long		calls;			/* of each client; 0: as many as fit the time */
	long		aggregates;		/* that the clients walk over */
	long		offset;			/* number of the first, */
	long		stride;			/* and so many between two */
	bool		hot;			/* all clients: the first one only */
	int			key_length;
	long		version;		/* of all aggregates at the start */
	int			batch;			/* events that a call adds to an aggregate */
	int			writes;			/* entries of WRITES */
	long		random_below;
	const char *retry;			/* SQLSTATEs, and "none" for no row */
	int			constants;
	const char *names[MAX_CONSTANTS];
	const char *values[MAX_CONSTANTS];
} Options;

extern Options options;

/* Where a client is on its walk. */
typedef struct Walk
{
	int			client;
	long		step;			/* calls, or writes, done so far */
	uint64_t	random;
} Walk;

/* options.c */
extern const char *read_options(int argc, char **argv);
extern void die(const char *format,...) __attribute__((format(printf, 1, 2), noreturn));

/* script.c */
extern Script read_script(const char *path);

/* walk.c */
extern void walk_key(const Walk *walk, long step, char *key);
extern void walk_new_key(const Walk *walk, char *key);
extern long walk_version(const Walk *walk, long step);
extern char *walk_writes(const Walk *walk, const char *events);
extern long walk_random(Walk *walk);
#define MAX_KEY 600

#endif							/* CLIENT_H */
