/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  Everything that differs between the server versions we support.
 *
 * No other file looks at PG_VERSION_NUM.
 *
 *-------------------------------------------------------------------------
 */
#ifndef ES_COMPAT_H
#define ES_COMPAT_H

#if PG_VERSION_NUM < 150000
#error "eventstore needs PostgreSQL 15 or newer"
#endif

#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 18 took away the attribute that stands after a declaration. */
#if PG_VERSION_NUM >= 180000
#define pg_attribute_noreturn() __attribute__((noreturn))
#endif

/* The virtual transaction id of this backend's current transaction. */
#if PG_VERSION_NUM >= 170000
#define ES_MY_LXID (MyProc->vxid.lxid)
#else
#define ES_MY_LXID (MyProc->lxid)
#endif

/* Do we hold this lock? */
#if PG_VERSION_NUM >= 170000
#define es_lock_held(tag, mode) LockHeldByMe((tag), (mode), false)
#else
#define es_lock_held(tag, mode) LockHeldByMe((tag), (mode))
#endif

/* The backend of a virtual transaction id; NULL if it is gone. */
#if PG_VERSION_NUM >= 170000
#include "storage/procarray.h"
#define es_vxid_proc(vxid) ProcNumberGetProc((vxid).procNumber)
#else
#include "storage/sinvaladt.h"
#define es_vxid_proc(vxid) BackendIdGetProc((vxid).backendId)
#endif

/* Begin a scan of an index, without instrumentation. */
#if PG_VERSION_NUM >= 190000
#define es_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0, SO_NONE)
#elif PG_VERSION_NUM >= 180000
#define es_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), NULL, (nkeys), 0)
#else
#define es_index_beginscan(heap, index, snapshot, nkeys) \
	index_beginscan((heap), (index), (snapshot), (nkeys), 0)
#endif

/* Clear a page of a heap of what nobody sees any more, if that is worth it. */
#if PG_VERSION_NUM >= 190000
#define es_prune_page(relation, buffer) \
	do { \
		Buffer		map = InvalidBuffer; \
		heap_page_prune_opt((relation), (buffer), &map, false); \
		if (BufferIsValid(map)) \
			ReleaseBuffer(map); \
	} while (0)
#else
#define es_prune_page(relation, buffer) heap_page_prune_opt((relation), (buffer))
#endif

/* The index of a table's primary key. */
#if PG_VERSION_NUM >= 180000
#define es_primary_key_index(heap) RelationGetPrimaryKeyIndex((heap), false)
#else
#define es_primary_key_index(heap) RelationGetPrimaryKeyIndex(heap)
#endif

/* Is a transaction over?  Does not wait. */
#if PG_VERSION_NUM >= 180000
#define es_xact_wait_at_once(xid) ConditionalXactLockTableWait((xid), false)
#else
#define es_xact_wait_at_once(xid) ConditionalXactLockTableWait(xid)
#endif

/*
 * Which indexes need an entry for a new version of a row, and making one.  Of an insert
 * that is ES_NO_INDEX_UPDATE.
 */
#if PG_VERSION_NUM >= 190000
typedef TU_UpdateIndexes EsIndexUpdate;
#define ES_NO_INDEX_UPDATE TU_None
#define es_insert_index_tuples(info, slot, estate, update) \
	ExecInsertIndexTuples((info), (estate), \
						  ((update) == TU_None ? 0 : EIIT_IS_UPDATE) | \
						  ((update) == TU_Summarizing ? EIIT_ONLY_SUMMARIZING : 0), \
						  (slot), NIL, NULL)
#elif PG_VERSION_NUM >= 160000
typedef TU_UpdateIndexes EsIndexUpdate;
#define ES_NO_INDEX_UPDATE TU_None
#define es_insert_index_tuples(info, slot, estate, update) \
	ExecInsertIndexTuples((info), (slot), (estate), (update) != TU_None, false, NULL, NIL, \
						  (update) == TU_Summarizing)
#else
typedef bool EsIndexUpdate;
#define ES_NO_INDEX_UPDATE false
#define es_insert_index_tuples(info, slot, estate, update) \
	ExecInsertIndexTuples((info), (slot), (estate), (update), false, NULL, NIL)
#endif

/* Update a row, waiting for a transaction that updates it. */
#if PG_VERSION_NUM >= 190000
#define es_update_row(relation, tid, slot, cid, snapshot, failure, mode, update) \
	table_tuple_update((relation), (tid), (slot), (cid), 0, (snapshot), InvalidSnapshot, true, \
					   (failure), (mode), (update))
#else
#define es_update_row(relation, tid, slot, cid, snapshot, failure, mode, update) \
	table_tuple_update((relation), (tid), (slot), (cid), (snapshot), InvalidSnapshot, true, \
					   (failure), (mode), (update))
#endif

/* May the current user look into this schema? */
#if PG_VERSION_NUM >= 160000
#define es_namespace_usable(nsp) \
	(object_aclcheck(NamespaceRelationId, (nsp), GetUserId(), ACL_USAGE) == ACLCHECK_OK)
#else
#define es_namespace_usable(nsp) \
	(pg_namespace_aclcheck((nsp), GetUserId(), ACL_USAGE) == ACLCHECK_OK)
#endif

/* May the current user call this function? */
#if PG_VERSION_NUM >= 160000
#define es_function_usable(funcid) \
	(object_aclcheck(ProcedureRelationId, (funcid), GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#else
#define es_function_usable(funcid) \
	(pg_proc_aclcheck((funcid), GetUserId(), ACL_EXECUTE) == ACLCHECK_OK)
#endif

/* Go on as die() does, from a handler declared with SIGNAL_ARGS. */
#if PG_VERSION_NUM >= 190000
#define es_go_on_as_die() die(postgres_signal_arg, pg_siginfo)
#else
#define es_go_on_as_die() die(postgres_signal_arg)
#endif

/* From 18 on the server can show which build of a module is loaded. */
#if PG_VERSION_NUM >= 180000
#define ES_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "eventstore", .version = ES_VERSION)
#else
#define ES_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* From 19 on a hand-made row descriptor must be declared complete. */
#if PG_VERSION_NUM >= 190000
#define es_tupdesc_finish(desc) TupleDescFinalize(desc)
#else
#define es_tupdesc_finish(desc) ((void) 0)
#endif

#endif							/* ES_COMPAT_H */
