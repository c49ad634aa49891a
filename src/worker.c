/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  The optional background worker of a store: moves the watermark, for readers
 *	  on a standby and above READ COMMITTED, and may NOTIFY.
 *
 * The worker computes the horizon, then stores it in a transaction of its own.
 * Every transaction that the horizon calls settled had left the proc array by then,
 * so its commit record comes before the watermark's, and whoever sees the watermark
 * sees its events: on the primary, on a standby, on a logical replica that applies
 * in commit order, and at every isolation level.
 *
 * One worker per store, kept apart by a session lock.  It runs with the rights of
 * whoever started it.  It survives errors, and after a crash of the server's other
 * processes the postmaster starts it again; it ends for good when it is told to, when
 * the store or the extension is gone, and when its database is about to be dropped.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <setjmp.h>
#include <unistd.h>

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_proc.h"
#include "commands/async.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include "eventstore.h"

#define RESTART_SECONDS 1
#define PATIENCE_MS 10000		/* for a worker to begin or to end */
#define LOOK_AROUND_MS 1000		/* for a store or database that goes away */

/* What a worker is told; fits bgw_extra. */
typedef struct WorkerOrders
{
	Oid			database;
	Oid			user;
	Oid			namespace_oid;
	Oid			sequence;
	int32		every_ms;		/* least time between two watermarks */
	NameData	channel;		/* empty: no NOTIFY */
} WorkerOrders;

StaticAssertDecl(sizeof(WorkerOrders) <= BGW_EXTRALEN, "orders do not fit");

PGDLLEXPORT void es_worker_main(Datum arg);

static volatile sig_atomic_t told_to_stop = false;

PG_FUNCTION_INFO_V1(es_start_worker);
PG_FUNCTION_INFO_V1(es_stop_worker);

static void
set_worker_tag(LOCKTAG *tag, Oid database, Oid sequence)
{
	SET_LOCKTAG_ADVISORY(*tag, database, sequence, 0, ES_LOCK_CLASS_WORKER);
}

/* The process that works for a store, or 0. */
static int
worker_pid(Oid sequence)
{
	LockData   *locks = GetLockStatusData();

	for (int i = 0; i < locks->nelements; i++)
	{
		const LockInstanceData *lock = &locks->locks[i];

		if (lock->locktag.locktag_type == LOCKTAG_ADVISORY &&
			lock->locktag.locktag_field4 == ES_LOCK_CLASS_WORKER &&
			lock->locktag.locktag_field1 == MyDatabaseId &&
			lock->locktag.locktag_field2 == sequence &&
			lock->holdMask != 0)
			return lock->pid;
	}
	return 0;
}

/* Wait until a worker is there, or gone; false if that takes too long. */
static bool
await_worker(Oid sequence, bool there)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PATIENCE_MS);

	while ((worker_pid(sequence) != 0) != there)
	{
		if (GetCurrentTimestamp() > until)
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return true;
}

/* Our database is locked exclusively: somebody drops, renames or moves it. */
static bool
database_is_wanted(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, MyDatabaseId, 0);
	if (LockAcquire(&tag, RowExclusiveLock, false, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, RowExclusiveLock, false);
	return false;
}

/*
 * The store, unless it is gone or another by now, or the extension is.  SPI must be
 * connected.
 */
static EsStore *
find_store(const WorkerOrders *orders)
{
	char	   *name = get_namespace_name(orders->namespace_oid);
	EsStore    *store;

	if (name == NULL || !OidIsValid(get_extension_oid("eventstore", true)))
		return NULL;
	store = es_named_store(name);
	return store != NULL && store->sequence_oid == orders->sequence ? store : NULL;
}

/* Store the horizon, if it has moved, and tell those who LISTEN. */
static void
move_watermark(EsStore *store, const WorkerOrders *orders, int64 horizon)
{
	Datum		position = Int64GetDatum(horizon);

	es_run(store, ES_SELECT_WATERMARK, NULL, NULL);
	es_run(store, SPI_processed == 0 ? ES_INSERT_WATERMARK : ES_UPDATE_WATERMARK, &position, NULL);
	if (SPI_processed > 0 && NameStr(orders->channel)[0] != '\0')
		Async_Notify(NameStr(orders->channel), psprintf(INT64_FORMAT, horizon));
}

/*
 * One round: wait for the horizon to move from *horizon, then store it.  Returns
 * false if there is nothing left to work for.
 */
static bool
work(const WorkerOrders *orders, int64 *horizon)
{
	EsStore    *store;
	int64		after = *horizon;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	/* Then the postmaster starts it again, with the library of that time. */
	es_check_sql_version(FATAL);
	store = database_is_wanted() ? NULL : find_store(orders);
	PopActiveSnapshot();
	if (store != NULL)
	{
		pgstat_report_activity(STATE_IDLE, NULL);
		*horizon = es_wait_for_horizon(store, after,
									   TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_AROUND_MS));
		if (*horizon > after)
		{
			pgstat_report_activity(STATE_RUNNING, "moving the watermark");
			es_harden(store, *horizon);
			PushActiveSnapshot(GetTransactionSnapshot());
			move_watermark(store, orders, *horizon);
			PopActiveSnapshot();
		}
	}
	SPI_finish();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
	return store != NULL;
}

static void
nap(int milliseconds)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* SIGTERM: end at the next opportunity, also in the middle of a wait, and for good. */
static void
handle_sigterm(SIGNAL_ARGS)
{
	told_to_stop = true;
	es_go_on_as_die();
}

/*
 * The postmaster starts a worker again unless it ends with 0, which a process that
 * is terminated does not.  At this point everything shared is given back.
 */
static void
end_for_good(int code, Datum arg)
{
	if (told_to_stop)
		_exit(0);
}

static void
override(const char *setting, const char *value)
{
	SetConfigOption(setting, value, PGC_SUSET, PGC_S_OVERRIDE);
}

static void
log_in(const WorkerOrders *orders)
{
	LOCKTAG		tag;

	BackgroundWorkerInitializeConnectionByOid(orders->database, orders->user, 0);
	/* Whatever the defaults of the role or the database are. */
	override("default_transaction_isolation", "read committed");
	override("default_transaction_read_only", "off");
	override("statement_timeout", "0");
	override("lock_timeout", "0");
	override("idle_in_transaction_session_timeout", "0");
	pgstat_report_appname(MyBgworkerEntry->bgw_name);
	set_worker_tag(&tag, orders->database, orders->sequence);
	StartTransactionCommand();
	if (LockAcquire(&tag, ExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		proc_exit(0);			/* another one is faster */
	CommitTransactionCommand();
}

/* Work until there is nothing left to work for; an error ends the round only. */
static void
work_on(const WorkerOrders *orders)
{
	sigjmp_buf	after_error;
	volatile int64 seen = -1;

	if (sigsetjmp(after_error, 1) != 0)
	{
		error_context_stack = NULL;
		HOLD_INTERRUPTS();
		EmitErrorReport();
		AbortCurrentTransaction();
		FlushErrorState();
		RESUME_INTERRUPTS();
		seen = -1;
		nap(RESTART_SECONDS * 1000);
	}
	PG_exception_stack = &after_error;

	for (;;)
	{
		int64		horizon = seen;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (!work(orders, &horizon))
			break;
		seen = horizon;
		nap(orders->every_ms);
	}
	PG_exception_stack = NULL;
}

/* Entry point of the background worker. */
void
es_worker_main(Datum arg)
{
	WorkerOrders orders;

	memcpy(&orders, MyBgworkerEntry->bgw_extra, sizeof(orders));
	on_proc_exit(end_for_good, (Datum) 0);
	pqsignal(SIGTERM, handle_sigterm);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	log_in(&orders);
	work_on(&orders);
	proc_exit(0);
}

static WorkerOrders
orders_for(FunctionCallInfo fcinfo, const EsStore *store)
{
	WorkerOrders orders = {0};
	int64		every;

	orders.database = MyDatabaseId;
	orders.user = GetUserId();
	orders.namespace_oid = store->namespace_oid;
	orders.sequence = store->sequence_oid;
	es_require_argument(fcinfo, 1, "every");
	every = DatumGetInt64(DirectFunctionCall1(numeric_int8,
											  DirectFunctionCall2(numeric_mul,
																  DirectFunctionCall2(extract_interval, CStringGetTextDatum("epoch"), PG_GETARG_DATUM(1)),
																  DirectFunctionCall1(int4_numeric, Int32GetDatum(1000)))));
	if (every < 1 || every > 60000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"every\" must be from 1 millisecond to 1 minute")));
	orders.every_ms = (int32) every;
	if (!PG_ARGISNULL(0))
	{
		text	   *channel = PG_GETARG_TEXT_PP(0);

		es_check_text("channel", channel, NAMEDATALEN - 1);
		namestrcpy(&orders.channel, text_to_cstring(channel));
	}
	return orders;
}

/* The worker logs in as the current user; refuse (42501) one who cannot. */
static void
check_may_log_in(void)
{
	HeapTuple	role = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	bool		may = HeapTupleIsValid(role) && ((Form_pg_authid) GETSTRUCT(role))->rolcanlogin;

	if (HeapTupleIsValid(role))
		ReleaseSysCache(role);
	if (!may)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\" cannot run a background worker because it is not permitted to log in",
						GetUserNameFromId(GetUserId(), false)),
				 errhint("Start the worker as a role with LOGIN.")));
}

/* Have the worker load the library that the SQL functions are in. */
static void
set_library(BackgroundWorker *worker, Oid function)
{
	HeapTuple	proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Datum		library;
	bool		isnull;
	char	   *path;

	if (!HeapTupleIsValid(proc))
		elog(ERROR, "cache lookup failed for function %u", function);
	library = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_probin, &isnull);
	if (isnull)
		elog(ERROR, "function %u has no library", function);
	path = TextDatumGetCString(library);
	if (strlen(path) >= sizeof(worker->bgw_library_name))
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("path of the library \"%s\" is too long for a background worker", path)));
	strlcpy(worker->bgw_library_name, path, sizeof(worker->bgw_library_name));
	ReleaseSysCache(proc);
}

/*
 * es_start_worker(channel text, every interval) RETURNS boolean
 *
 * Starts the worker of the current store; false if there is one already.  22004,
 * 22023 for bad arguments; 42P01 without a store; 42501 without the right to write
 * the watermark; 53000 if the server has no room for another worker.
 */
Datum
es_start_worker(PG_FUNCTION_ARGS)
{
	BackgroundWorker worker = {0};
	BackgroundWorkerHandle *handle;
	WorkerOrders orders;
	EsStore    *store;

	PreventCommandDuringRecovery("es_start_worker()");
	SPI_connect();
	store = es_current_store();
	orders = orders_for(fcinfo, store);
	if (pg_class_aclcheck(store->watermark_oid, GetUserId(), ACL_UPDATE) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, "es_watermark");
	check_may_log_in();
	snprintf(worker.bgw_name, BGW_MAXLEN, "eventstore worker of %s", NameStr(store->namespace_name));
	SPI_finish();
	if (worker_pid(orders.sequence) != 0)
		PG_RETURN_BOOL(false);

	snprintf(worker.bgw_type, BGW_MAXLEN, "eventstore worker");
	set_library(&worker, fcinfo->flinfo->fn_oid);
	snprintf(worker.bgw_function_name, BGW_MAXLEN, "es_worker_main");
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = RESTART_SECONDS;
	worker.bgw_notify_pid = MyProcPid;
	memcpy(worker.bgw_extra, &orders, sizeof(orders));
	if (!RegisterDynamicBackgroundWorker(&worker, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("could not start another background worker"),
				 errhint("You may need to increase max_worker_processes.")));
	if (!await_worker(orders.sequence, true))
	{
		TerminateBackgroundWorker(handle);
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("background worker did not start in time"),
				 errhint("See the server log.")));
	}
	PG_RETURN_BOOL(true);
}

/*
 * es_stop_worker() RETURNS boolean
 *
 * Stops the worker of the current store and waits until it is gone; false if there
 * is none.  42P01 without a store; 42501 without the right to signal it.
 */
Datum
es_stop_worker(PG_FUNCTION_ARGS)
{
	Oid			sequence;
	int			pid;

	SPI_connect();
	sequence = es_current_store()->sequence_oid;
	SPI_finish();
	pid = worker_pid(sequence);
	if (pid == 0)
		PG_RETURN_BOOL(false);
	(void) DirectFunctionCall2(pg_terminate_backend, Int32GetDatum(pid), Int64GetDatum(0));
	if (!await_worker(sequence, false))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("background worker did not stop in time")));
	PG_RETURN_BOOL(true);
}
