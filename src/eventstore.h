/*-------------------------------------------------------------------------
 *
 * eventstore.h
 *	  Types, error codes and functions shared between the files of eventstore.
 *
 *-------------------------------------------------------------------------
 */
#ifndef EVENTSTORE_H
#define EVENTSTORE_H

#include "access/tableam.h"
#include "executor/spi.h"
#include "storage/itemptr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

#include "compat.h"

#define ES_VERSION "1.0"

/* The newest format of a store's tables that this library serves. */
#define ES_FORMAT_VERSION 1

#define ERRCODE_ES_VERSION_CONFLICT MAKE_SQLSTATE('V', 'E', '0', '0', '1')
#define ERRCODE_ES_AGGREGATE_NOT_FOUND MAKE_SQLSTATE('V', 'E', '0', '0', '2')
#define ERRCODE_ES_AGGREGATE_CLOSED MAKE_SQLSTATE('V', 'E', '0', '0', '3')
#define ERRCODE_ES_CONDITION_FAILED MAKE_SQLSTATE('V', 'E', '0', '0', '4')
#define ERRCODE_ES_REQUEST_ID_REUSED MAKE_SQLSTATE('V', 'E', '0', '0', '5')
#define ERRCODE_ES_POSITION_OUT_OF_RANGE MAKE_SQLSTATE('V', 'E', '0', '0', '7')

/*
 * Classes of our tags in the lock manager (field 4, small enough for int2).  SQL
 * can make advisory locks of class 1 and 2 only, so nobody can take or release
 * ours.  Frozen for ever: a prepared transaction may hold a tag over an upgrade of
 * this library.
 */
#define ES_LOCK_CLASS_ROOT 0x65A0	/* key_lock.c */
#define ES_LOCK_CLASS_KEY 0x65A1	/* key_lock.c */
#define ES_LOCK_CLASS_TAG 0x65A2	/* tag_lock.c */
#define ES_LOCK_CLASS_FLIGHT 0x65A3 /* flight.c */
#define ES_LOCK_CLASS_BELL 0x65A4	/* bell.c */
#define ES_LOCK_CLASS_WORKER 0x65A5 /* worker.c */
#define ES_LOCK_CLASS_TAG_ROOT 0x65A6	/* tag_lock.c */

#define ES_MAX_KEY_BYTES 512	/* also of a type and of a tag */
#define ES_MAX_REQUEST_ID_BYTES 255

/* settings (eventstore.c) */
extern char *es_store_setting;
extern bool es_require_expected_version;
extern bool es_allow_direct_writes;

/* One statement over a store's tables; statement.c holds their texts. */
typedef enum EsStatement
{
	ES_ADVANCE,					/* move a version, whatever it is */
	ES_ADVANCE_EXPECTED,		/* move a version if it is the expected one */
	ES_INSERT_EVENT,
	ES_INSERT_EVENTS,
	ES_INSERT_TAGS,
	ES_INSERT_AGGREGATES,
	ES_UPDATE_AGGREGATES,
	ES_LOOK,					/* read aggregates without a lock */
	ES_LOOK_AS_OWNER,			/* the same past row-level security */
	ES_LOCK_ROWS,
	ES_LOCK_ROWS_NOWAIT,
	ES_SHARE_ROW,
	ES_FIND_REQUEST,
	ES_COUNT_REQUEST_AS_OWNER,
	ES_SELECT_VERSION,
	ES_READ_LOG,
	ES_LAST_EVENT,
	ES_SELECT_WATERMARK,
	ES_INSERT_WATERMARK,
	ES_UPDATE_WATERMARK,
	ES_SUBSCRIPTION_POSITION,
	ES_READ_FORWARDS,
	ES_READ_BACKWARDS,
	ES_COUNT_TAGGED,
	ES_FIND_TAGGED,
	ES_FIND_TAGGED_AS_OWNER,	/* the same past row-level security */
	ES_READ_TAGGED,
	ES_LOAD,
	ES_SAVE_SNAPSHOT,
	ES_STATEMENT_COUNT
} EsStatement;

/*
 * A store as this session knows it: one schema and the OIDs of its relations.
 * Valid until the end of the transaction in which es_current_store() gave it.
 */
typedef struct EsStore
{
	Oid			namespace_oid;
	NameData	namespace_name;
	Oid			store_oid;
	Oid			aggregates_oid;
	Oid			events_oid;
	Oid			tags_oid;
	Oid			sequence_oid;
	Oid			watermark_oid;
	Oid			subscriptions_oid;
	Oid			snapshots_oid;
	bool		valid;			/* cleared by invalidation messages */
	uint64		last_used;
	LocalTransactionId retired_in;	/* the transaction that replaced it */
	SPIPlanPtr	plans[ES_STATEMENT_COUNT];
	bool		planned[ES_STATEMENT_COUNT];	/* with our settings
												 * (statement.c) */
	LOCKTAG		flight;			/* the last lock in flight, perhaps no longer
								 * held (flight.c) */
	int64		flight_bound;
	bool		row_stands_for_key; /* of the last creation: see key_lock.c */
	bool		sequence_checked;	/* it is not behind the log */
	bool		own_flight;		/* when the horizon was last computed, we were
								 * in flight */
	int64		settled_horizon;	/* the highest ever found: settled is
									 * settled (flight.c) */
	int64		durable_horizon;	/* up to here the log is known to be on
									 * disk (feed.c) */
} EsStore;

typedef struct EsEvent
{
	text	   *type;
	Jsonb	   *data;			/* NULL if absent */
	Jsonb	   *metadata;		/* NULL if absent */
	ArrayType  *tags;			/* NULL if absent */
	bool		has_id;
	pg_uuid_t	id;
	int64		position;		/* drawn when it is written */
} EsEvent;

/* One item of a query: what is NULL does not restrict. */
typedef struct EsQueryItem
{
	ArrayType  *types;
	ArrayType  *categories;
	ArrayType  *tags;
} EsQueryItem;

typedef struct EsQuery
{
	EsQueryItem *items;
	int			nitems;
} EsQuery;

/* Nobody must have written an event that matches the query after that position. */
typedef struct EsCondition
{
	EsQuery    *query;
	int64		after;
	/* the event in the way, if there is one */
	bool		failed;
	int64		position;		/* 0: it is of this call, and has none yet */
	text	   *type;
	int			earlier_entry;	/* then, the entry that brings it */
} EsCondition;

/* The outcomes of section 4 of the contract, in the order of es_status_names. */
typedef enum EsStatus
{
	ES_APPENDED,
	ES_REPEATED,
	ES_CHECKED,
	ES_NOT_WRITTEN,
	ES_VERSION_CONFLICT,
	ES_AGGREGATE_NOT_FOUND,
	ES_AGGREGATE_CLOSED,
	ES_CONDITION_FAILED,
	ES_REQUEST_ID_REUSED
} EsStatus;

#define es_is_refusal(status) ((status) >= ES_VERSION_CONFLICT)

/* One distinct key of a call. */
typedef struct EsAggregate
{
	text	   *key;
	bool		written;		/* some entry appends to it, or es_lock: lock
								 * it exclusively */
	bool		settled;		/* every entry was refused at first sight: no
								 * lock */
	/* what the table says, as of the last look or lock */
	bool		stored;			/* false: there is no row */
	bool		closed;
	bool		moved;			/* above READ COMMITTED: differs from the
								 * transaction's snapshot */
	int64		stored_version; /* 0 if there is no row */
	Oid			row_table;		/* where the row is, for the guards' queue */
	ItemPointerData row_tid;
	/* the locks on its key, if it had no row (key_lock.c) */
	LOCKMODE	root_mode;
	bool		key_covered;	/* by what was held before the call */
	bool		key_locked;
	bool		absent;			/* locked, and nobody has inserted a row */
	bool		created;		/* its row is inserted */
	/* what it will be after the entries decided so far */
	int64		version;
	/* what the log has of the call's request id, in the atomic forms */
	SPITupleTable *request_rows;
	int64		request_count;
	int64		request_taken;	/* as many belong to the entries so far */
} EsAggregate;

/* One entry of a call: an append, or a guard if it has no events. */
typedef struct EsWrite
{
	int			entry;			/* from 1 */
	text	   *key;			/* NULL for a guard of conditions alone */
	EsEvent    *events;
	int			nevents;		/* 0: a guard */
	bool		has_expected;
	int64		expected_version;
	bool		allow_create;
	text	   *request_id;		/* NULL if none */
	EsCondition *conditions;
	int			nconditions;
	EsAggregate *aggregate;		/* NULL for a guard of conditions alone */
	/* what is known of its request id (request.c) */
	bool		remembered;		/* it is in the log, and the result below is
								 * the first one */
	bool		reused;			/* it is in the log with other events */
	struct EsWrite *predecessor;	/* the entry before with the same key and
									 * request id */
	struct EsWrite *original;	/* the one of those that this entry repeats */
	/* the outcome */
	EsStatus	status;
	EsCondition *obstacle;		/* the condition that failed */
	bool		has_version;
	int64		version;		/* after the write; of a refusal the actual
								 * one */
	int64		first_position; /* 0 if nothing was written */
	int64		last_position;
	TimestampTz recorded_at;
} EsWrite;

/* Was every entry for the aggregate of this one refused at first sight? */
#define es_is_settled(write) ((write)->aggregate != NULL && (write)->aggregate->settled)

/* A tag that a call writes, with an event, or asks for, in a condition (write NULL). */
typedef struct EsTagUse
{
	uint64		hash;
	EsWrite    *write;
	EsEvent    *event;
} EsTagUse;

typedef struct EsTagUses
{
	EsTagUse   *use;			/* by hash */
	int			count;
	int			room;
} EsTagUses;

/* One call. */
typedef struct EsCall
{
	EsStore    *store;
	EsWrite    *writes;
	int			nwrites;
	EsAggregate *aggregates;	/* in key order */
	int			naggregates;
	EsTagUses	tags;			/* tag_lock.c */
	bool		atomic;			/* one refusal refuses all */
	bool		nowait;			/* a lock that is not free is an error (55P03) */
	bool		locking;		/* right now */
	bool		locked;			/* decide for good, under the locks */
	text	   *request_id;		/* of the whole call, in the atomic forms */
} EsCall;

/* store.c */
extern void es_store_init(void);
extern EsStore *es_current_store(void);
extern EsStore *es_find_current_store(void);
extern EsStore *es_named_store(const char *schema);
extern EsStore *es_store_for_writing(const char *function);
extern void es_check_still_named(EsStore *store);
extern void es_check_format(const EsStore *store);
extern void es_report_replaced(EsStore *store) pg_attribute_noreturn();

/* statement.c */
extern void es_run_page(EsStore *store, const char *sql, Datum *values, DestReceiver *dest);
extern void es_run(EsStore *store, EsStatement statement, Datum *values, const char *nulls);
extern void es_run_snapshot(EsStore *store, EsStatement statement, Datum *values,
							const char *nulls, Snapshot snapshot);
extern Snapshot es_latest_snapshot(void);
extern bool es_may_run_as_owner(EsStore *store, EsStatement statement);
extern void es_run_as_owner(EsStore *store, EsStatement statement, Datum *values,
							Snapshot snapshot);
extern void es_run_into(EsStore *store, EsStatement statement, Datum *values, const char *nulls,
						DestReceiver *dest);

/* version.c */
extern void es_version_init(void);
extern void es_check_sql_version(int elevel);

/* owner.c */
extern bool es_owns_names(Oid role, Oid namespace_oid);

/* columns.c */
extern void es_check_columns(const EsStore *store, EsStatement statement, SPITupleTable *rows);

/* guard.c */
typedef struct EsPermit
{
	EsStore    *store;
	Oid			relid;
	const char *name;			/* of the relation */
	CmdType		command;
	bool		used;
	struct EsPermit *outer;
} EsPermit;

extern void es_push_permit(EsPermit *permit, EsStore *store, Oid relid, const char *name,
						   CmdType command);
extern void es_pop_permit(EsPermit *permit);
extern void es_refuse_append_inside(const EsStore *store);

/* arguments.c */
extern text *es_key_argument(FunctionCallInfo fcinfo, int argno);
extern void es_check_text(const char *what, text *value, int max_bytes);
extern void es_check_expected_version(int64 version);
extern void es_check_least(const char *name, int64 value, int64 least);
extern void es_require_argument(FunctionCallInfo fcinfo, int argno, const char *name);
extern void es_require_fresh_snapshots(const char *what);

/* decode.c */
extern char *es_field_name(const JsonbValue *name);
extern bool es_is_field(const JsonbValue *name, const char *expected);
extern void es_decode_events(Jsonb *events, int entry, EsWrite *write);
extern void es_decode_writes(Jsonb *writes, bool each, EsCall *call);

/* aggregate.c */
extern void es_collect_aggregates(EsCall *call);
extern int	es_compare_keys(const text *a, const text *b);
extern Datum es_key_array(EsAggregate **chosen, int count);
extern void es_take_rows(EsAggregate **chosen, int count);
extern void es_look(EsStore *store, EsAggregate **chosen, int count);
extern void es_mark_moved(EsStore *store, EsAggregate **chosen, int count);
extern void es_refuse_hidden(EsStore *store, EsAggregate **missing, int count);

/* lock_budget.c */
extern bool es_may_lock(int count);
extern int	es_count_locks(int count);

/* direct.c */
typedef struct EsColumn
{
	const char *name;
	Oid			type;
	bool		nullable;
} EsColumn;

typedef enum EsDirectUse
{
	ES_DIRECT_READ,
	ES_DIRECT_LOCK,
	ES_DIRECT_UPDATE,
	ES_DIRECT_INSERT
} EsDirectUse;

#define ES_DIRECT_ROWS 64

typedef struct EsDirect
{
	Relation	relation;
	ResultRelInfo *info;		/* to update and insert */
	EState	   *estate;
	TupleTableSlot *slots[ES_DIRECT_ROWS];
	int			nslots;
	int			nrows;			/* not stored yet */
} EsDirect;

extern bool es_begin_direct(EsDirect *direct, Oid relid, EsDirectUse use, const EsColumn *columns,
							int ncolumns);
extern void es_put_direct(EsDirect *direct, const Datum *values, const bool *nulls);
extern void es_put_index_entries(EsDirect *direct, TupleTableSlot *slot, EsIndexUpdate update);
extern void es_end_direct(EsDirect *direct);

/* aggregate_row.c */
extern bool es_look_directly(EsStore *store, EsAggregate **chosen, int count);
extern bool es_lock_rows_directly(EsStore *store, EsAggregate **chosen, int count, bool share,
								  bool nowait);
extern bool es_advance_directly(EsStore *store, EsWrite *write, bool *advanced);
extern bool es_update_aggregates_directly(EsStore *store, EsAggregate **chosen, int count);
extern bool es_insert_aggregates_directly(EsStore *store, EsAggregate **chosen, int count);

/* key_lock.c */
extern bool es_is_key_index(Relation heap, Relation index);
extern uint64 es_key_hash(const EsStore *store, const text *key);
extern void es_lock_keys(EsStore *store, EsAggregate **absent, int count, bool nowait);
extern void es_unlock_keys(EsStore *store, EsAggregate **chosen, int count);

/* tag_lock.c */
extern void es_collect_tags(EsCall *call);
extern void es_lock_tags(EsCall *call);
extern void es_lock_tags_beforehand(EsCall *call, bool always);
extern void es_await_tags(const EsCall *call);
extern int	es_first_use(const EsCall *call, const text *tag);
extern Snapshot es_snapshot_of_tags(EsStore *store, const EsQuery *query);

/* lock.c */
extern int	es_aggregates_of_keys(ArrayType *array, EsAggregate ***result);
extern void es_lock_aggregates(EsStore *store, EsAggregate **chosen, int count, bool nowait);
extern bool es_lock_likely_row(EsStore *store, EsAggregate *aggregate, bool nowait);

/* request.c */
extern bool es_has_request_ids(const EsCall *call);
extern void es_link_predecessors(EsCall *call);
extern void es_find_repeats(EsCall *call);
extern bool es_recall_request(EsStore *store, EsWrite *write);
extern bool es_same_events(const EsWrite *a, const EsWrite *b);

/* condition.c */
extern bool es_has_conditions(const EsCall *call);
extern void es_check_conditions(EsCall *call);
extern bool es_conditions_hold(const EsCall *call, EsWrite *write);

/* write.c */
extern int64 es_next_version(int64 version, int nevents);
extern bool es_advance_version(EsStore *store, EsWrite *write);
extern void es_write_events(EsStore *store, EsWrite **writes, int count);
extern void es_write_aggregates(EsStore *store, EsAggregate **chosen, int count);

/* flight.c */
extern int64 es_last_position(EsStore *store);
extern int64 es_take_off(EsStore *store);
extern int64 es_settled_horizon(EsStore *store);

/* bell.c */
extern void es_bell_init(void);
extern void es_bell_remember(Oid sequence);
extern int64 es_wait_for_horizon(EsStore *store, int64 after, TimestampTz until);

/* feed.c */
extern void es_harden(EsStore *store, int64 horizon);
extern void es_harden_events(EsStore *store, int64 position);
extern int64 es_readable_horizon(EsStore *store);
extern void es_check_cursor(EsStore *store, int64 after);

/* query.c */
extern EsQuery *es_parse_query(JsonbContainer *array);
extern EsQuery *es_parse_tag_query(JsonbContainer *array, const char *where);
extern int	es_array_texts(ArrayType *array, Datum **texts);
extern bool es_query_matches(const EsQuery *query, const text *key, const EsEvent *event);
extern char *es_page_statement(const EsStore *store, Jsonb *query, int partitions, int partition,
							   const char *function_schema);

/* decide.c */
extern void es_decide(EsCall *call);
extern void es_complete_results(EsCall *call);

/* decider.c */
extern void es_find_decider(FmgrInfo *decider, Oid funcid, bool many);
extern Jsonb *es_call_decider(FmgrInfo *decider, text *key, int64 version, NullableDatum command);

/* append.c */
extern void es_set_request_id(EsCall *call, text *request_id);
extern bool es_append_to_existing(EsCall *call);
extern void es_apply(EsCall *call);

/* read.c */
extern int64 es_version_of(EsStore *store, text *key);
extern int	es_category_length(const text *key);

/* result.c */
extern const char *es_status_name(EsStatus status);
extern int	es_first_refusal(const EsCall *call);
extern void es_report_refusals(const EsCall *call) pg_attribute_noreturn();
extern void es_report_busy(const EsAggregate *aggregate) pg_attribute_noreturn();
extern void es_report_moved(const EsAggregate *aggregate) pg_attribute_noreturn();
extern void es_report_hidden(text *key) pg_attribute_noreturn();
extern void es_result_row(const EsWrite *write, Datum *values, bool *nulls);
extern void es_put_results(FunctionCallInfo fcinfo, const EsCall *call);
#define ES_RESULT_COLUMNS 7

/* statistics.c */
extern void es_count_outcomes(const EsCall *call);
extern void es_count_conflict(const EsStore *store);
extern void es_count_repeat(const EsStore *store);

/* uuid.c */
extern void es_make_uuid(pg_uuid_t *uuid);

#endif							/* EVENTSTORE_H */
