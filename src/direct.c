/*-------------------------------------------------------------------------
 *
 * direct.c
 *	  Writing rows below the executor, where nobody could tell the difference.
 *
 * Starting and ending the executor costs more than the rest of an append, so the
 * rows of a plain table are written as COPY and the apply worker of logical
 * replication write theirs: by the table and index access methods.
 *
 * Plain is a table that looks as es_create_store() made it: an ordinary heap with the
 * same columns, without rules, checks, row-level security or triggers that the command
 * would fire, but for our guard, which would let us through.  More indexes and foreign
 * keys on it are fine.  The caller has rights on the whole table.  Whatever is not so
 * goes through SPI, and so does every statement of a transaction above READ COMMITTED
 * that must see rows: there the executor knows the rules.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/relscan.h"
#include "access/stratnum.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "eventstore.h"
#include "testing.h"

const EsColumn es_aggregate_columns[] = {
	{"key", TEXTOID, false}, {"version", INT8OID, false}, {"first_version", INT8OID, false},
	{"closed_at", TIMESTAMPTZOID, true}
};

#define AGGREGATE_COLUMNS 4
#define COL_KEY 0
#define COL_VERSION 1
#define COL_FIRST_VERSION 2
#define COL_CLOSED_AT 3

extern Datum es_guard(PG_FUNCTION_ARGS);

static bool
has_columns(Relation relation, const EsColumn *columns, int ncolumns)
{
	TupleDesc	desc = RelationGetDescr(relation);

	if (desc->natts != ncolumns)
		return false;
	for (int i = 0; i < ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (attribute->attisdropped || attribute->atttypid != columns[i].type ||
			(attribute->attnotnull && columns[i].nullable) ||
			strcmp(NameStr(attribute->attname), columns[i].name) != 0)
			return false;
	}
	return desc->constr == NULL ||
		(desc->constr->num_check == 0 && !desc->constr->has_generated_stored);
}

static bool
is_guard(const Trigger *trigger)
{
	static Oid	known = InvalidOid; /* looked up once */
	FmgrInfo	function;

	if (trigger->tgfoid == known)
		return true;
	fmgr_info(trigger->tgfoid, &function);
	if (function.fn_addr != es_guard)
		return false;
	known = trigger->tgfoid;
	return true;
}

/* Would the command fire a trigger other than our guard? */
static bool
fires_triggers(const TriggerDesc *triggers, CmdType command)
{
	bool		insert = command == CMD_INSERT;

	if (triggers == NULL)
		return false;
	if (insert ?
		triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		triggers->trig_insert_after_statement || triggers->trig_insert_new_table :
		triggers->trig_update_before_row || triggers->trig_update_after_row ||
		triggers->trig_update_after_statement || triggers->trig_update_new_table)
		return true;
	for (int i = 0; i < triggers->numtriggers; i++)
	{
		const Trigger *trigger = &triggers->triggers[i];

		if (!TRIGGER_FOR_ROW(trigger->tgtype) && TRIGGER_FOR_BEFORE(trigger->tgtype) &&
			(insert ? TRIGGER_FOR_INSERT(trigger->tgtype) : TRIGGER_FOR_UPDATE(trigger->tgtype)) &&
			!is_guard(trigger))
			return true;
	}
	return false;
}

static bool
is_plain(Relation relation, CmdType command, const EsColumn *columns, int ncolumns)
{
	return relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->rd_rel->relam == HEAP_TABLE_AM_OID &&
		!relation->rd_rel->relispartition &&
		!relation->rd_rel->relhasrules &&
		!relation->rd_rel->relrowsecurity &&
		!relation->rd_rel->relhassubclass &&
		!fires_triggers(relation->trigdesc, command) &&
		has_columns(relation, columns, ncolumns);
}

/*
 * Open a table to write to it; false if that must go through SPI.  Then every row goes
 * to es_put_direct() and the end of it is es_end_direct().
 */
bool
es_begin_direct(EsDirect *direct, Oid relid, CmdType command, const EsColumn *columns, int ncolumns)
{
	AclMode		rights = command == CMD_INSERT ? ACL_INSERT : ACL_SELECT | ACL_UPDATE;

	memset(direct, 0, sizeof(EsDirect));
	if (ExecutorCheckPerms_hook != NULL || ES_MUTANT("through the executor") ||
		pg_class_aclmask(relid, GetUserId(), rights, ACLMASK_ALL) != rights)
		return false;
	direct->relation = try_table_open(relid, RowExclusiveLock);
	if (direct->relation == NULL)
		return false;
	if (!is_plain(direct->relation, command, columns, ncolumns))
	{
		table_close(direct->relation, NoLock);
		return false;
	}
	direct->estate = CreateExecutorState();
	direct->info = makeNode(ResultRelInfo);
	InitResultRelInfo(direct->info, direct->relation, 0, NULL, 0);
	ExecOpenIndices(direct->info, false);
	direct->command_id = GetCurrentCommandId(true);
	return true;
}

static void
insert_index_entries(EsDirect *direct, TupleTableSlot *slot, EsIndexUpdate update)
{
	if (direct->info->ri_NumIndices == 0)
		return;
	(void) es_insert_index_tuples(direct->info, slot, direct->estate, update);
	ResetPerTupleExprContext(direct->estate);
}

/* Store the rows that have been put so far. */
static void
flush(EsDirect *direct)
{
	if (direct->nrows == 1)
		table_tuple_insert(direct->relation, direct->slots[0], direct->command_id, 0, NULL);
	else if (direct->nrows > 1)
		table_multi_insert(direct->relation, direct->slots, direct->nrows, direct->command_id, 0, NULL);
	for (int i = 0; i < direct->nrows; i++)
	{
		insert_index_entries(direct, direct->slots[i], ES_NO_INDEX_UPDATE);
		ExecClearTuple(direct->slots[i]);
	}
	direct->nrows = 0;
}

/* Add a row.  What the values point to must stay until es_end_direct(). */
void
es_put_direct(EsDirect *direct, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot;

	if (direct->nrows == ES_DIRECT_ROWS)
		flush(direct);
	if (direct->nrows == direct->nslots)
		direct->slots[direct->nslots++] = table_slot_create(direct->relation, NULL);
	slot = direct->slots[direct->nrows++];
	memcpy(slot->tts_values, values, sizeof(Datum) * slot->tts_tupleDescriptor->natts);
	memcpy(slot->tts_isnull, nulls, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	ExecStoreVirtualTuple(slot);
}

/* Store all rows and close the table, but keep the lock as the executor would. */
void
es_end_direct(EsDirect *direct)
{
	flush(direct);
	for (int i = 0; i < direct->nslots; i++)
		ExecDropSingleTupleTableSlot(direct->slots[i]);
	ExecCloseIndices(direct->info);
	FreeExecutorState(direct->estate);
	table_close(direct->relation, NoLock);
}

/* Insert the row of a new aggregate; false if that must go through SPI. */
bool
es_insert_aggregate_directly(EsStore *store, text *key, int64 version)
{
	EsDirect	direct;
	Datum		values[AGGREGATE_COLUMNS];
	bool		nulls[AGGREGATE_COLUMNS] = {false};

	if (!es_begin_direct(&direct, store->aggregates_oid, CMD_INSERT, es_aggregate_columns, AGGREGATE_COLUMNS))
		return false;
	values[COL_KEY] = PointerGetDatum(key);
	values[COL_VERSION] = Int64GetDatum(version);
	values[COL_FIRST_VERSION] = Int64GetDatum(1);
	nulls[COL_CLOSED_AT] = true;
	es_put_direct(&direct, values, nulls);
	es_end_direct(&direct);
	return true;
}

/* The index of the keys, among those that are open; NULL if it is not there. */
static Relation
key_index(const EsDirect *direct)
{
	Oid			oid = es_primary_key_index(direct->relation);

	for (int i = 0; i < direct->info->ri_NumIndices; i++)
	{
		Relation	index = direct->info->ri_IndexRelationDescs[i];

		if (RelationGetRelid(index) == oid && es_is_key_index(direct->relation, index))
			return index;
	}
	return NULL;
}

/* Find the row of a key with the active snapshot. */
static bool
find_row(const EsDirect *direct, Relation index, const text *key, TupleTableSlot *slot)
{
	IndexScanDesc scan = es_index_beginscan(direct->relation, index, GetActiveSnapshot(), 1);
	ScanKeyData scankey;
	bool		found;

	ScanKeyEntryInitialize(&scankey, 0, 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
						   PointerGetDatum(key));
	index_rescan(scan, &scankey, 1, NULL, 0);
	found = index_getnext_slot(scan, ForwardScanDirection, slot);
	index_endscan(scan);
	return found;
}

/* Is the row still the one that the append is for? */
static bool
row_matches(TupleTableSlot *row, const EsWrite *write)
{
	slot_getallattrs(row);
	return row->tts_isnull[COL_CLOSED_AT] &&
		(!write->has_expected || DatumGetInt64(row->tts_values[COL_VERSION]) == write->expected_version);
}

/*
 * Move the version of a row, and whatever became of it while we waited for another
 * transaction: as the executor does under READ COMMITTED.  False if the row is no longer
 * the one that the append is for.
 */
static bool
update_row(EsDirect *direct, TupleTableSlot *row, EsWrite *write)
{
	TupleTableSlot *changed = table_slot_create(direct->relation, NULL);
	bool		done = false;

	while (!done && row_matches(row, write))
	{
		ItemPointerData tid = row->tts_tid;
		TM_FailureData failure;
		LockTupleMode mode;
		EsIndexUpdate update;
		TM_Result	result;

		write->version = es_next_version(DatumGetInt64(row->tts_values[COL_VERSION]), write->nevents);
		memcpy(changed->tts_values, row->tts_values, sizeof(Datum) * AGGREGATE_COLUMNS);
		memcpy(changed->tts_isnull, row->tts_isnull, sizeof(bool) * AGGREGATE_COLUMNS);
		changed->tts_values[COL_VERSION] = Int64GetDatum(write->version);
		ExecStoreVirtualTuple(changed);
		result = table_tuple_update(direct->relation, &tid, changed, direct->command_id,
									GetActiveSnapshot(), InvalidSnapshot, true, &failure, &mode, &update);
		if (result == TM_Ok)
		{
			if (update != ES_NO_INDEX_UPDATE)
				insert_index_entries(direct, changed, update);
			done = true;
		}
		else if (result != TM_Updated ||
				 table_tuple_lock(direct->relation, &tid, GetActiveSnapshot(), row, direct->command_id,
								  mode, LockWaitBlock, TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure) != TM_Ok)
			break;
		ExecClearTuple(changed);
	}
	ExecDropSingleTupleTableSlot(changed);
	return done;
}

/*
 * The shortcut of write.c below the executor: move the version of an existing aggregate,
 * if it is the expected one.  Sets *direct to false if that must go through SPI.
 */
bool
es_advance_directly(EsStore *store, EsWrite *write, bool *is_direct)
{
	EsDirect	direct;
	Relation	index;
	TupleTableSlot *row;
	bool		done = false;

	/* See what was done before in this transaction. */
	CommandCounterIncrement();
	*is_direct = es_begin_direct(&direct, store->aggregates_oid, CMD_UPDATE, es_aggregate_columns,
								 AGGREGATE_COLUMNS);
	if (!*is_direct)
		return false;
	index = key_index(&direct);
	*is_direct = index != NULL;
	if (*is_direct)
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		row = table_slot_create(direct.relation, NULL);
		if (find_row(&direct, index, write->key, row))
			done = update_row(&direct, row, write);
		ExecDropSingleTupleTableSlot(row);
		PopActiveSnapshot();
	}
	es_end_direct(&direct);
	return done;
}
