/*-------------------------------------------------------------------------
 *
 * direct.c
 *	  Tables used below the executor, where nobody could tell the difference.
 *
 * Starting and ending the executor costs more than the rest of an append, so the
 * rows of a plain table are written as COPY and the apply worker of logical
 * replication write theirs: by the table and index access methods.  The rows of
 * aggregates are also read and locked so (aggregate_row.c).
 *
 * Plain is a table that looks as es_create_store() made it: an ordinary heap with the
 * same columns, without rules, checks, row-level security or triggers that would fire,
 * but for our guard, which would let us through.  More indexes on it are fine.  The
 * caller has rights on the whole table.  Whatever is not so goes through SPI.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/rel.h"

#include "eventstore.h"
#include "testing.h"

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
			attribute->attnotnull == columns[i].nullable ||
			strcmp(NameStr(attribute->attname), columns[i].name) != 0)
			return false;
	}
	return desc->constr == NULL ||
		(desc->constr->num_check == 0 && !desc->constr->has_generated_stored);
}

static bool
is_guard(Oid function_oid)
{
	static Oid	known = InvalidOid; /* looked up once */
	FmgrInfo	function;

	if (function_oid == known)
		return true;
	fmgr_info(function_oid, &function);
	if (function.fn_addr != es_guard)
		return false;
	known = function_oid;
	return true;
}

/* Would such a use fire a trigger other than our guard? */
static bool
fires_triggers(Relation relation, EsDirectUse use)
{
	TriggerDesc *triggers = relation->trigdesc;
	bool		insert = use == ES_DIRECT_INSERT;

	if (triggers == NULL || use == ES_DIRECT_READ || use == ES_DIRECT_LOCK)
		return false;
	if (insert ?
		triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
		triggers->trig_insert_after_statement || triggers->trig_insert_new_table :
		triggers->trig_update_before_row || triggers->trig_update_after_row ||
		triggers->trig_update_after_statement || triggers->trig_update_new_table)
		return true;

	/*
	 * Our lock keeps the triggers as they are; but a look-up may move their
	 * description.
	 */
	for (int i = 0; i < relation->trigdesc->numtriggers; i++)
	{
		int16		type = relation->trigdesc->triggers[i].tgtype;

		if (!TRIGGER_FOR_ROW(type) && TRIGGER_FOR_BEFORE(type) &&
			(insert ? TRIGGER_FOR_INSERT(type) : TRIGGER_FOR_UPDATE(type)) &&
			!is_guard(relation->trigdesc->triggers[i].tgfoid))
			return true;
	}
	return false;
}

static bool
is_plain(Relation relation, EsDirectUse use, const EsColumn *columns, int ncolumns)
{
	return relation->rd_rel->relkind == RELKIND_RELATION &&
		relation->rd_rel->relam == HEAP_TABLE_AM_OID &&
		!relation->rd_rel->relispartition &&
		!relation->rd_rel->relhasrules &&
		!relation->rd_rel->relrowsecurity &&
		!relation->rd_rel->relhassubclass &&
		!fires_triggers(relation, use) &&
		has_columns(relation, columns, ncolumns);
}

/* What the executor would lock the table with, and which rights it would want. */
static const struct
{
	LOCKMODE	lock;
	AclMode		rights;
}			uses[] =

{
	[ES_DIRECT_READ] = {AccessShareLock, ACL_SELECT},
	[ES_DIRECT_LOCK] = {RowShareLock, ACL_SELECT | ACL_UPDATE},
	[ES_DIRECT_UPDATE] = {RowExclusiveLock, ACL_SELECT | ACL_UPDATE},
	[ES_DIRECT_INSERT] = {RowExclusiveLock, ACL_INSERT}
};

/*
 * Open a table to use its rows; false if that must go through SPI.  The end of it is
 * es_end_direct().
 */
bool
es_begin_direct(EsDirect *direct, Oid relid, EsDirectUse use, const EsColumn *columns, int ncolumns)
{
	memset(direct, 0, sizeof(EsDirect));
	if (ExecutorCheckPerms_hook != NULL || ES_MUTANT("through the executor"))
		return false;
	direct->relation = try_table_open(relid, uses[use].lock);
	if (direct->relation == NULL)
		return false;
	if (!is_plain(direct->relation, use, columns, ncolumns) ||
		pg_class_aclmask(relid, GetUserId(), uses[use].rights, ACLMASK_ALL) != uses[use].rights)
	{
		table_close(direct->relation, NoLock);
		return false;
	}
	/* The executor refuses what a subscriber could not follow (55000, 42P10). */
	if (use == ES_DIRECT_UPDATE)
		CheckCmdReplicaIdentity(direct->relation, CMD_UPDATE);
	return true;
}

static void
open_indexes(EsDirect *direct)
{
	direct->estate = CreateExecutorState();
	direct->info = makeNode(ResultRelInfo);
	InitResultRelInfo(direct->info, direct->relation, 0, NULL, 0);
	ExecOpenIndices(direct->info, false);
}

/* Make the index entries of a new row, or of a new version of one. */
void
es_put_index_entries(EsDirect *direct, TupleTableSlot *slot, EsIndexUpdate update)
{
	/* Most updates need no entries, and none of this. */
	if (direct->info == NULL)
		open_indexes(direct);
	if (direct->info->ri_NumIndices == 0)
		return;
	(void) es_insert_index_tuples(direct->info, slot, direct->estate, update);
	ResetPerTupleExprContext(direct->estate);
}

/* Store the rows that have been put so far. */
static void
flush(EsDirect *direct)
{
	CommandId	command = GetCurrentCommandId(true);

	if (direct->nrows == 1)
		table_tuple_insert(direct->relation, direct->slots[0], command, 0, NULL);
	else
		table_multi_insert(direct->relation, direct->slots, direct->nrows, command, 0, NULL);
	for (int i = 0; i < direct->nrows; i++)
	{
		es_put_index_entries(direct, direct->slots[i], ES_NO_INDEX_UPDATE);
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
	if (direct->nrows > 0)
		flush(direct);
	for (int i = 0; i < direct->nslots; i++)
		ExecDropSingleTupleTableSlot(direct->slots[i]);
	if (direct->info != NULL)
	{
		ExecCloseIndices(direct->info);
		FreeExecutorState(direct->estate);
	}
	table_close(direct->relation, NoLock);
}
