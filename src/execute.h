/*-------------------------------------------------------------------------
 *
 * execute.h
 *	  A command of es_execute() or es_execute_many(), and one attempt at it.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_EXECUTE_H
#define ES_EXECUTE_H

#include "eventstore.h"

typedef enum Outcome
{
	DONE,
	CONFLICT,
	REPEATED,					/* the request id is known */
	FAILED						/* with an error */
} Outcome;

typedef struct Command
{
	EsStore    *store;
	FmgrInfo	decider;
	text	   *key;			/* NULL in es_execute_many() */
	NullableDatum argument;		/* what decide() is told */
	text	   *request_id;		/* NULL if none */
	EsAggregate **keys;			/* to be locked on a conflict */
	int			nkeys;
	int			attempts;		/* so far */
	EsCall		call;			/* of the last attempt that came so far */
	MemoryContext call_memory;	/* where it is, not to be reset */
	int64		version;		/* that it was decided on */
	bool		lock_first;		/* and nobody could change meanwhile */
	EsWrite    *repeated;		/* what a known request did */
	int			nrepeated;
} Command;

/* attempt.c */
extern bool es_was_carried_out(Command *command);
extern bool es_has_landed(Command *command, bool nowait);
extern bool es_attempt_is_certain(const Command *command);
extern void es_note_contention(const Command *command, bool because_of_others);
extern Outcome es_attempt(Command *command, bool last);
extern Outcome es_attempt_undoably(Command *command, bool last, ErrorData **error);

#endif							/* ES_EXECUTE_H */
