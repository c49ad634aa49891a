/*-------------------------------------------------------------------------
 *
 * write.c
 *	  The rows of an append: aggregates, tags, events.
 *
 * Everything here happens under the locks of lock.c and after every check, so an
 * error can only come from PostgreSQL or from a user's trigger, and takes the
 * whole call with it.
 *
 * The version moves before the events are inserted: a user's trigger on
 * es_events then sees the new version, and may itself append to the aggregate.
 *
 * Rows go into a plain table directly (direct.c).  Otherwise several go in by one
 * statement over a named tuple store, so that a statement-level trigger sees all of
 * them at once.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"

#include "eventstore.h"
#include "testing.h"

#define EVENT_COLUMNS 10

/* The tuple stores that the statements of statement.c read. */
typedef struct Batch
{
	const char *name;
	int			ncolumns;
	EsColumn	columns[EVENT_COLUMNS]; /* of events and tags, also those of
										 * the table */
	TupleDesc	desc;			/* made once a process */
} Batch;

static Batch new_events = {
	"es_new_events", EVENT_COLUMNS,
	{{"position", INT8OID, false}, {"version", INT8OID, false}, {"recorded_at", TIMESTAMPTZOID, false},
	{"id", UUIDOID, false}, {"key", TEXTOID, false}, {"type", TEXTOID, false}, {"data", JSONBOID, true},
	{"metadata", JSONBOID, true}, {"tags", TEXTARRAYOID, true}, {"request_id", TEXTOID, true}}
};

static Batch new_tags = {
	"es_new_tags", 4,
	{{"tag", TEXTOID, false}, {"position", INT8OID, false}, {"key", TEXTOID, false}, {"version", INT8OID, false}}
};

static Batch new_aggregates = {
	"es_new_aggregates", 2,
	{{"key", TEXTOID, false}, {"version", INT8OID, false}}
};

static TupleDesc
batch_desc(Batch *batch)
{
	if (batch->desc == NULL)
	{
		MemoryContext oldcxt = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	desc = CreateTemplateTupleDesc(batch->ncolumns);

		for (int i = 0; i < batch->ncolumns; i++)
			TupleDescInitEntry(desc, (AttrNumber) (i + 1), batch->columns[i].name, batch->columns[i].type, -1, 0);
		es_tupdesc_finish(desc);
		MemoryContextSwitchTo(oldcxt);
		batch->desc = desc;
	}
	return batch->desc;
}

/*
 * A trigger may skip a row that we write.  Then the append would be half there, so
 * it is refused as a whole (09000).
 */
static void
require_rows(int64 expected)
{
	if ((int64) SPI_processed != expected)
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("trigger or rule on a table of the event store skipped a row of an append"),
				 errhint("To refuse an append, let the trigger raise an error.")));
}

/* Run a statement over the rows of a tuple store. */
static void
execute_batch(EsStore *store, EsStatement statement, Batch *batch, Tuplestorestate *rows)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = unconstify(char *, batch->name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = batch_desc(batch);
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = tuplestore_tuple_count(rows);
	enr->reldata = rows;

	/* Of a statement that failed, in a subtransaction, it may still be there. */
	(void) SPI_unregister_relation(batch->name);
	if (SPI_register_relation(enr) != SPI_OK_REL_REGISTER)
		elog(ERROR, "could not register relation \"%s\"", batch->name);
	es_run(store, statement, NULL, NULL);
	require_rows(tuplestore_tuple_count(rows));
	SPI_unregister_relation(batch->name);
	tuplestore_end(rows);
	pfree(enr);
}

/* The version after so many more events (22003 beyond bigint). */
int64
es_next_version(int64 version, int nevents)
{
	int64		next;

	if (pg_add_s64_overflow(version, nevents, &next))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("aggregate version out of range")));
	return next;
}

/*
 * The shortcut for one append to an existing aggregate: lock the row, check the
 * expected version and move it, all in one statement.  Returns false if there is
 * no such row.  Then it has usually locked nothing, since the scan looks at version
 * and closed_at before it locks; only if the row was another when we had waited for
 * it, we hold that one.
 */
bool
es_advance_version(EsStore *store, EsWrite *write)
{
	Datum		values[3];
	bool		isnull;

	if (es_advance_directly(store, write, &write->has_version))
		return write->has_version;
	values[0] = PointerGetDatum(write->key);
	values[1] = Int64GetDatum(write->nevents);
	values[2] = Int64GetDatum(write->expected_version);
	es_run(store, write->has_expected ? ES_ADVANCE_EXPECTED : ES_ADVANCE, values, NULL);
	if (SPI_processed == 0)
		return false;
	write->version = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc,
												 1, &isnull));
	write->has_version = true;
	SPI_freetuptable(SPI_tuptable);
	return true;
}

/* Store the versions of aggregates that all have a row, or all have none. */
static void
write_versions(EsStore *store, EsAggregate **some, int count, bool stored)
{
	Tuplestorestate *rows;
	bool		nulls[2] = {false, false};
	Datum		values[2];

	if (stored ? es_update_aggregates_directly(store, some, count) :
		es_insert_aggregates_directly(store, some, count))
		return;
	rows = tuplestore_begin_heap(false, false, work_mem);
	for (int i = 0; i < count; i++)
	{
		values[0] = PointerGetDatum(some[i]->key);
		values[1] = Int64GetDatum(some[i]->version);
		tuplestore_putvalues(rows, batch_desc(&new_aggregates), values, nulls);
	}
	execute_batch(store, stored ? ES_UPDATE_AGGREGATES : ES_INSERT_AGGREGATES, &new_aggregates, rows);
}

/* Store the versions that the decided entries lead to. */
void
es_write_aggregates(EsStore *store, EsAggregate **chosen, int count)
{
	EsAggregate **some = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(EsAggregate *) * count);

	for (int stored = 1; stored >= 0; stored--)
	{
		int			nsome = 0;

		for (int i = 0; i < count; i++)
		{
			if (chosen[i]->stored == (bool) stored && chosen[i]->version != chosen[i]->stored_version)
				some[nsome++] = chosen[i];
		}
		if (nsome > 0)
			write_versions(store, some, nsome, stored);
	}
	pfree(some);
	for (int i = 0; i < count; i++)
		chosen[i]->created = !chosen[i]->stored && chosen[i]->version > 0;
	es_unlock_keys(store, chosen, count);
}

static int
compare_tags(const void *a, const void *b)
{
	return es_compare_keys(DatumGetTextPP(*(const Datum *) a), DatumGetTextPP(*(const Datum *) b));
}

/* Where the rows of a table go: into it directly, or into a batch for a statement. */
typedef struct Rows
{
	Batch	   *batch;
	bool		is_direct;
	EsDirect	direct;
	Tuplestorestate *tuples;
} Rows;

static void
begin_rows(Rows *rows, Oid relid, Batch *batch)
{
	rows->batch = batch;
	rows->is_direct = es_begin_direct(&rows->direct, relid, ES_DIRECT_INSERT, batch->columns, batch->ncolumns);
	if (!rows->is_direct)
		rows->tuples = tuplestore_begin_heap(false, false, work_mem);
}

static void
put_row(Rows *rows, Datum *values, bool *nulls)
{
	CHECK_FOR_INTERRUPTS();
	if (rows->is_direct)
		es_put_direct(&rows->direct, values, nulls);
	else
		tuplestore_putvalues(rows->tuples, batch_desc(rows->batch), values, nulls);
}

static void
end_rows(Rows *rows, EsStore *store, EsStatement statement)
{
	if (rows->is_direct)
		es_end_direct(&rows->direct);
	else
		execute_batch(store, statement, rows->batch, rows->tuples);
}

/* The index rows of one event's tags; a tag that it has twice is there once. */
static void
put_tags(Rows *rows, const EsWrite *write, const EsEvent *event, int64 version)
{
	bool		nulls[4] = {false, false, false, false};
	Datum		values[4];
	Datum	   *tags;
	int			count = es_array_texts(event->tags, &tags);

	qsort(tags, count, sizeof(Datum), compare_tags);
	values[1] = Int64GetDatum(event->position);
	values[2] = PointerGetDatum(write->key);
	values[3] = Int64GetDatum(version);
	for (int i = 0; i < count; i++)
	{
		if (i > 0 && compare_tags(&tags[i - 1], &tags[i]) == 0)
			continue;
		values[0] = tags[i];
		put_row(rows, values, nulls);
	}
	pfree(tags);
}

/* The version of an entry's event, counted from 0. */
static int64
event_version(const EsWrite *write, int i)
{
	return write->version - write->nevents + 1 + i;
}

static void
write_tags(EsStore *store, EsWrite **writes, int count)
{
	Rows		rows;
	bool		any = false;

	for (int i = 0; i < count; i++)
	{
		EsWrite    *write = writes[i];

		for (int j = 0; j < write->nevents; j++)
		{
			if (write->events[j].tags == NULL)
				continue;
			if (!any)
				begin_rows(&rows, store->tags_oid, &new_tags);
			any = true;
			put_tags(&rows, write, &write->events[j], event_version(write, j));
		}
	}
	if (any)
		end_rows(&rows, store, ES_INSERT_TAGS);
}

static void
event_row(const EsWrite *write, EsEvent *event, int64 version, Datum *values, bool *nulls)
{
	if (!event->has_id)
		es_make_uuid(&event->id);
	memset(nulls, 0, sizeof(bool) * EVENT_COLUMNS);
	values[0] = Int64GetDatum(event->position);
	values[1] = Int64GetDatum(version);
	values[2] = TimestampTzGetDatum(write->recorded_at);
	values[3] = UUIDPGetDatum(&event->id);
	values[4] = PointerGetDatum(write->key);
	values[5] = PointerGetDatum(event->type);
	values[6] = PointerGetDatum(event->data);
	nulls[6] = event->data == NULL;
	values[7] = PointerGetDatum(event->metadata);
	nulls[7] = event->metadata == NULL;
	values[8] = PointerGetDatum(event->tags);
	nulls[8] = event->tags == NULL;
	values[9] = PointerGetDatum(write->request_id);
	nulls[9] = write->request_id == NULL;
}

static void
insert_one_event(EsStore *store, EsWrite *write)
{
	Datum		values[EVENT_COLUMNS];
	bool		isnull[EVENT_COLUMNS];
	char		nulls[EVENT_COLUMNS];

	event_row(write, &write->events[0], write->version, values, isnull);
	for (int i = 0; i < EVENT_COLUMNS; i++)
		nulls[i] = isnull[i] ? 'n' : ' ';
	es_run(store, ES_INSERT_EVENT, values, nulls);
	require_rows(1);
}

static void
insert_events(EsStore *store, EsWrite **writes, int count, int64 nevents)
{
	Rows		rows;
	Datum		values[EVENT_COLUMNS];
	bool		nulls[EVENT_COLUMNS];

	begin_rows(&rows, store->events_oid, &new_events);
	if (nevents == 1 && !rows.is_direct)
	{
		tuplestore_end(rows.tuples);
		insert_one_event(store, writes[0]);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		EsWrite    *write = writes[i];

		for (int j = 0; j < write->nevents; j++)
		{
			event_row(write, &write->events[j], event_version(write, j), values, nulls);
			put_row(&rows, values, nulls);
		}
	}
	end_rows(&rows, store, ES_INSERT_EVENTS);
}

/* Draw a position above what the lock in flight promised (55000 otherwise). */
static int64
draw_position(EsStore *store, int64 bound)
{
	int64		position = nextval_internal(store->sequence_oid, true);

	if (position <= bound && !ES_MUTANT("cached sequence"))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("sequence \"es_position_seq\" of event store \"%s\" yielded " INT64_FORMAT ", which is not above " INT64_FORMAT,
						NameStr(store->namespace_name), position, bound),
				 errhint("The sequence must have CACHE 1 and NO CYCLE and never be set back.")));
	return position;
}

/*
 * Give every event its place in the global log, and every entry its time.
 * Returns the number of events.
 */
static int64
draw_positions(EsStore *store, EsWrite **writes, int count)
{
	TimestampTz now = GetCurrentTimestamp();
	int64		early = ES_MUTANT("position before lock") ? nextval_internal(store->sequence_oid, true) : 0;
	int64		bound = es_take_off(store);
	int64		drawn = 0;

	for (int i = 0; i < count; i++)
	{
		EsWrite    *write = writes[i];

		write->recorded_at = now;
		for (int j = 0; j < write->nevents; j++)
		{
			CHECK_FOR_INTERRUPTS();
			write->events[j].position = early > 0 ? early : draw_position(store, bound);
			early = 0;
		}
		write->first_position = write->events[0].position;
		write->last_position = write->events[write->nevents - 1].position;
		drawn += write->nevents;
	}
	ES_PAUSE("after positions");
	return drawn;
}

/*
 * Write the events of the given entries, in order.  Each entry's version (after
 * it) is set; positions and recorded_at are set here.  SPI must be connected.
 */
void
es_write_events(EsStore *store, EsWrite **writes, int count)
{
	int64		nevents = draw_positions(store, writes, count);

	write_tags(store, writes, count);
	insert_events(store, writes, count, nevents);
}
